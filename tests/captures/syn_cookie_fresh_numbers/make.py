"""A stateless server answers each SYN copy with another number; the client acknowledges the last."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
server.syn_ack(raw_seq=70000)
talk.wait(1)
client.syn()
server.syn_ack()
client.ack()
client.data(10)
server.ack()
capture = talk.pcap()
