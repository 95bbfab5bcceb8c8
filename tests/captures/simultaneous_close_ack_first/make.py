"""The crossing FIN arrives after a bare ACK that was sent later."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
server.fin()
client.send("A", seq=2, ack=2)
client.fin(seq=1, ack=1)
server.ack()
capture = talk.pcap()
