"""TCP inside IP-in-IP and GRE is passed over, and said."""

from __future__ import annotations

from captures.conversation import Conversation
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import GRE, Ether

outer = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="198.18.0.1", dst="198.18.0.2", id=9)

talk = Conversation()
inner = IP(src="10.0.0.1", dst="10.0.0.2", id=1) / TCP(sport=1, dport=2, seq=7)
talk.tape.record(bytes(outer / inner))
talk.tape.record(bytes(outer / GRE() / inner))
capture = talk.pcap()
