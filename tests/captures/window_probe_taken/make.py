"""A window probe's byte is taken: it counts once."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10)
server.ack(window=0)
talk.wait(0.2)
client.send("A", 1)
server.ack()
client.data(10)
server.ack()
talk.close(client)
capture = talk.pcap()
