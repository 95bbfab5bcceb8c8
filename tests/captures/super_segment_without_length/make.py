"""Captured before the card cuts: the IPv4 total length is 0, the frame's length tells."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.snap = server.snap = 60
talk.open()
client.data(3000, ip_length=0)
server.ack()
talk.close(client)
capture = talk.pcap()
