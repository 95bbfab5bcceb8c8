"""SYN-ACKs are never acknowledged."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
server.syn_ack()
talk.wait(1)
server.syn_ack()
talk.wait(2)
server.syn_ack()
capture = talk.pcap()
