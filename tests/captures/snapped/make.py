"""Only 60 bytes of each frame were kept."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.snap = server.snap = 60
talk.open()
client.data(1000)
server.data(1000)
client.ack()
talk.close(client)
capture = talk.pcap()
