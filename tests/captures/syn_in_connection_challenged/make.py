"""A SYN with another number inside a connection: a challenge ACK, and it goes on (RFC 5961 section 4)."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.send("S", raw_seq=777777)
client.next -= 1
server.ack()
client.data(10)
server.ack()
talk.close(client)
capture = talk.pcap()
