"""PPP with address and control (RFC 1662)."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.links import PPP_FRAMED

talk = Conversation(link=PPP_FRAMED)
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = talk.pcap()
