"""Lost after the capture point; three duplicate ACKs, sent again (RFC 5681 section 3.2)."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
server.data(1460)
server.data(1460)
server.data(1460)
server.data(1460)
client.ack(1)
client.ack(1)
client.ack(1)
server.data(1460, seq=1)
client.ack()
talk.close(server)
capture = talk.pcap()
