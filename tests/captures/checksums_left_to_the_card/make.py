"""Captured on the sender: checksums hold only the pseudo header's sum."""

from __future__ import annotations

from captures.conversation import Conversation


def partial(length: int) -> int:
    total = 0xC612 + 0x0001 + 0xC612 + 0x0002 + 6 + length  # 198.18.0.1, 198.18.0.2, TCP
    return total % 0xFFFF


talk = Conversation()
client, server = talk.ends
client.syn(chksum=partial(20))
server.syn_ack()
client.ack(chksum=partial(20))
client.data(27, chksum=partial(47))
server.ack()
client.fin(chksum=partial(20))
server.fin()
client.ack(chksum=partial(20))
capture = talk.pcap()
