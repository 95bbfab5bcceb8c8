"""One-sided: only the server's packets. Its ACK of data proves that the client opened and spoke."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn(unseen=True)
server.syn_ack()
client.ack(unseen=True)
client.data(27, unseen=True)
server.ack()
server.data(10)
client.ack(unseen=True)
server.fin()
capture = talk.pcap()
