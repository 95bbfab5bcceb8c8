"""One-sided: only the client's packets. Its ACK proves a SYN-ACK that was not captured."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
server.syn_ack(unseen=True)
client.ack()
client.data(27)
server.ack(unseen=True)
client.fin()
server.fin(unseen=True)
client.ack()
capture = talk.pcap()
