"""A RST without ACK before the SYN-ACK refuses nothing (RFC 9293 section 3.10.7.3)."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
server.reset(seq=0)
talk.wait(1)
client.syn()
server.syn_ack()
client.ack()
capture = talk.pcap()
