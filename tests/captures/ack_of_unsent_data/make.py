"""The server acknowledges data that was never sent, which is answered and ignored (RFC 9293 section 3.10.7.4)."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10)
server.ack(9999)
client.ack()
server.ack(11)
client.data(10)
server.ack()
talk.close(client)
capture = talk.pcap()
