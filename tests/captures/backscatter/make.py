"""A SYN-ACK to a host that sent no SYN draws a RST."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
server.syn_ack(ack=34)
client.reset(seq=34)
capture = talk.pcap()
