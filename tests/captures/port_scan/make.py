"""A SYN scan of three ports: open, closed, filtered."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
server.syn_ack()
client.reset()
closed = Conversation(tape=talk.tape, server=("198.18.0.2", 7457))
closed.client.syn()
closed.server.reset_ack(raw_seq=0)
filtered = Conversation(tape=talk.tape, server=("198.18.0.2", 7458))
filtered.client.syn()
capture = talk.pcap()
