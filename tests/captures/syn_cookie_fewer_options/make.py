"""A SYN cookie keeps only the MSS of what was offered."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn(options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (7, 0)), ("NOP", None), ("WScale", 7)])
server.syn_ack(options=[("MSS", 1460)])
client.ack()
capture = talk.pcap()
