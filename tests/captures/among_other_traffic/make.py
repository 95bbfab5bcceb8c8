"""ARP, UDP and LLDP around a connection."""

from __future__ import annotations

from captures.conversation import Conversation
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

ME, YOU = "02:00:00:00:00:01", "02:00:00:00:00:02"

talk = Conversation()
client, server = talk.ends
talk.tape.record(bytes(Ether(src=ME, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=ME, psrc="198.18.0.1", pdst="198.18.0.2")))
talk.open()
talk.tape.record(
    bytes(
        Ether(src=ME, dst=YOU) / IP(src="198.18.0.1", dst="198.18.0.2", id=3) / UDP(sport=40000, dport=7456) / b"hello"
    )
)
client.data(27)
server.ack()
talk.tape.record(bytes(Ether(src=ME, dst="01:80:c2:00:00:0e", type=0x88CC) / (b"\x02\x04\x07abc" + bytes(40))))
talk.close(client)
capture = talk.pcap()
