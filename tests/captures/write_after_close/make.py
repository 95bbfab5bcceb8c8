"""The client has closed altogether; the server's data draws RST."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.fin()
server.ack()
server.data(10)
client.reset(seq=2)
capture = talk.pcap()
