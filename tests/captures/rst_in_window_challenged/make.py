"""A forged RST in the window, not at the next byte: a challenge ACK, and it goes on (RFC 5961 section 3.2)."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.reset(seq=5)
server.ack()
client.data(10)
server.ack()
talk.close(client)
capture = talk.pcap()
