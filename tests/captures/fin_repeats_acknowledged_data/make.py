"""A FIN that rides on bytes already acknowledged is one FIN after them."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(100)
server.ack()
client.send("FA", 100, seq=1)
server.ack()
server.fin()
client.ack()
capture = talk.pcap()
