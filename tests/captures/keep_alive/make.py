"""Keep-alives with no byte and with one byte of garbage, and their answers (RFC 9293 section 3.8.4)."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10)
server.ack()
talk.wait(7200)
client.send("A", seq=10)
server.ack()
talk.wait(75)
client.send("A", 1, seq=10, payload=b"x")
server.ack()
capture = talk.pcap()
