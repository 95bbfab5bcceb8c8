"""The client's data is under way when the server's RST comes: RST at the next byte of its own."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(100)
client.data(100)
server.reset_ack(ack=1)
client.data(100)
capture = talk.pcap()
