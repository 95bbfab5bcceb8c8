"""Raw IP."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.links import RAW

talk = Conversation(link=RAW)
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = talk.pcap()
