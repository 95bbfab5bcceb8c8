"""A closed port: RST+ACK with sequence 0 that acknowledges the SYN."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
server.reset_ack(raw_seq=0)
capture = talk.pcap()
