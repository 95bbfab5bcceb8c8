"""The server has an old connection: it challenges the SYN, is reset, and takes the next SYN (RFC 9293 figure 9)."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
server.ack(raw_seq=80000, ack=600000)
client.reset(seq=600000)
talk.wait(1)
client.syn()
server.syn_ack()
client.ack()
capture = talk.pcap()
