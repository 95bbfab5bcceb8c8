"""Captured before the card cuts: segments far larger than the MSS."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn(options=[("MSS", 1460)])
server.syn_ack(options=[("MSS", 1460)])
client.ack()
client.data(5000)
client.data(8000)
server.ack()
talk.close(client)
capture = talk.pcap()
