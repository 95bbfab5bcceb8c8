"""A SYN scan, or close() while connecting: the SYN-ACK draws a bare RST."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
server.syn_ack()
client.reset()
capture = talk.pcap()
