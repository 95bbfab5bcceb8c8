"""The FINs cross: neither acknowledges the other (RFC 9293 figure 13)."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.fin()
server.fin(ack=1)
client.ack()
server.ack()
capture = talk.pcap()
