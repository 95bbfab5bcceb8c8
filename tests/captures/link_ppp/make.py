"""PPP without address and control."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.links import PPP

talk = Conversation(link=PPP)
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = talk.pcap()
