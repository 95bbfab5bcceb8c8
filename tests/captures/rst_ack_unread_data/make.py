"""close() with unread data is RST+ACK (RFC 2525 section 2.17)."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(1000)
server.ack()
server.reset_ack()
capture = talk.pcap()
