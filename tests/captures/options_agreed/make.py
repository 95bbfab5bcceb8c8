"""MSS, SACK, timestamps and window scale offered by both."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn(options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (7, 0)), ("NOP", None), ("WScale", 7)])
server.syn_ack(options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (9, 7)), ("NOP", None), ("WScale", 7)])
client.ack()
capture = talk.pcap()
