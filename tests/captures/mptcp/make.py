"""Multipath TCP: MP_CAPABLE on SYN and SYN-ACK (RFC 8684 section 3.1)."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn(options=[(30, b"\x01\x81")])
server.syn_ack(options=[(30, b"\x01\x81" + bytes(range(8)))])
client.ack(options=[(30, b"\x01\x81" + bytes(range(16)))])
capture = talk.pcap()
