"""SYNs are answered by ICMP port unreachable, which quotes them; no TCP came back."""

from __future__ import annotations

from captures.conversation import Conversation
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.l2 import Ether

answer = Ether(src="02:00:00:00:00:02", dst="02:00:00:00:00:01") / IP(src="198.18.0.2", dst="198.18.0.1", id=7)

talk = Conversation()
client = talk.client
client.syn()
talk.tape.record(
    bytes(
        answer
        / ICMP(type=3, code=3)
        / IP(src="198.18.0.1", dst="198.18.0.2", id=101)
        / TCP(sport=40000, dport=7456, seq=1000)
    )
)
talk.wait(1)
client.syn()
capture = talk.pcap()
