"""A RST that carries words (RFC 9293 section 3.5.3); they are no data."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
server.send("R", payload=b"go away")
capture = talk.pcap()
