"""Both send a SYN and answer the other's with a SYN-ACK of the same number (RFC 9293 figure 7)."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
server.syn()
client.syn_ack()
server.syn_ack()
capture = talk.pcap()
