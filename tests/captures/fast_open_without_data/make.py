"""A cookie without data: the server still speaks before the third ACK."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn(options=[(34, b"cookie!!")])
server.syn_ack()
server.data(100)
client.ack()
capture = talk.pcap()
