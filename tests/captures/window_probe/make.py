"""Window probes of one byte that is not taken, then the byte comes with the data (RFC 9293 section 3.8.6.1)."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10)
server.ack(window=0)
talk.wait(0.2)
client.send("A", 1, seq=11)
server.ack(11, window=0)
talk.wait(0.4)
client.send("A", 1, seq=11)
server.ack(11, window=0)
server.ack(11)
client.data(10, seq=11)
server.ack()
talk.close(client)
capture = talk.pcap()
