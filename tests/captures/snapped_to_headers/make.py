"""Only the headers were kept, not one byte of data."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.snap = server.snap = 54
talk.open()
client.data(1000)
server.ack()
talk.close(client)
capture = talk.pcap()
