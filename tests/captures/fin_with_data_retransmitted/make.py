"""A FIN with 20 bytes comes twice: its bytes and itself."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10)
client.fin(20)
talk.wait(0.2)
client.send("FPA", 20, seq=11)
server.fin()
client.ack()
capture = talk.pcap()
