"""The server closes with unread SYN data: RST+ACK before the third ACK."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn(10, options=[(34, b"cookie!!")])
server.syn_ack()
server.reset_ack()
capture = talk.pcap()
