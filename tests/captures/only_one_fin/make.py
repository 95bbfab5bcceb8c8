"""The client closed; the server never does."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.fin()
server.ack()
capture = talk.pcap()
