"""The SYN asks for ECN, the SYN-ACK does not answer it."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.send("SEC", seq=0)
server.syn_ack()
client.ack()
capture = talk.pcap()
