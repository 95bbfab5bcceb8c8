"""The SYN-ACK answers window scale and SACK that the SYN did not offer."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn(options=[("MSS", 1460)])
server.syn_ack(options=[("MSS", 1460), ("SAckOK", b""), ("NOP", None), ("WScale", 7)])
client.ack()
capture = talk.pcap()
