"""A simultaneous open that one side ends with a bare ACK."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
server.syn()
client.syn_ack()
server.ack()
client.ack()
capture = talk.pcap()
