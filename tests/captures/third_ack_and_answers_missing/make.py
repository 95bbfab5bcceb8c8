"""SYN, SYN-ACK and then only the server: its acknowledgement of data shows that the handshake was completed."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
server.syn_ack()
client.ack(unseen=True)
client.data(27, unseen=True)
server.ack()
server.fin()
capture = talk.pcap()
