"""Sent again although it was acknowledged; the answer is a duplicate SACK (RFC 2883)."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10)
server.ack()
talk.wait(0.3)
client.data(10, seq=1)
server.ack(options=[("NOP", None), ("NOP", None), ("SAck", (1001, 1011))])
talk.close(client)
capture = talk.pcap()
