"""Crossing SYNs with data: each SYN-ACK acknowledges only the SYN; the data is acknowledged later."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn(100)
server.syn(50)
client.syn_ack(ack=1)
server.syn_ack(ack=1)
client.send("A", seq=101, ack=51)
server.send("A", seq=51, ack=101)
capture = talk.pcap()
