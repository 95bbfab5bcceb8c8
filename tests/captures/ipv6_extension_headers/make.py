"""Hop-by-hop and destination options before TCP (RFC 8200)."""

from __future__ import annotations

from captures.conversation import Conversation
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop

talk = Conversation(
    client=("2001:db8::1", 40000), server=("2001:db8::2", 7456), extensions=(IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt())
)
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = talk.pcap()
