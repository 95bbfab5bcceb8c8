"""200 bytes where 100 were granted."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
server.window = 100
talk.open()
client.data(100)
client.data(100)
server.ack()
capture = talk.pcap()
