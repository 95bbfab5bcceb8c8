"""The capture starts with the server's data."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
server.data(100, seq=1, ack=1)
client.send("A", seq=1)
client.fin()
server.fin()
client.ack()
capture = talk.pcap()
