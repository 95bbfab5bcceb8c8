"""The same from port 80: Zeek flips the direction at once."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation(server=("198.18.0.2", 80))
client, server = talk.ends
server.data(100, seq=1, ack=1)
client.send("A", seq=1)
client.fin()
server.fin()
client.ack()
capture = talk.pcap()
