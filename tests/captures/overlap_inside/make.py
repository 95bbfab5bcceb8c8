"""A segment inside one that was seen."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(100)
client.data(20, seq=31)
server.ack()
talk.close(client)
capture = talk.pcap()
