"""A segment without ACK in an open connection is dropped; the same bytes with ACK count (RFC 9293 section 3.10.7.4)."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.send("P", 10, seq=1)
client.data(10, seq=1)
server.ack()
talk.close(client)
capture = talk.pcap()
