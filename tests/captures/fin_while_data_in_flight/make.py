"""The server's data was sent before it saw the FIN: no half-close."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.fin()
server.data(10, ack=1)
server.fin()
client.ack()
capture = talk.pcap()
