"""A large segment covers a hole and what stands around it."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10)
client.data(10, seq=21)
talk.wait(0.2)
client.data(40, seq=1)
server.ack()
talk.close(client)
capture = talk.pcap()
