"""A FIN is taken although the window is 0."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(1000)
server.ack(window=0)
client.fin()
server.ack(window=0)
server.fin()
client.ack()
capture = talk.pcap()
