"""Data beyond its own FIN."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.fin()
client.data(10)
server.ack(2)
capture = talk.pcap()
