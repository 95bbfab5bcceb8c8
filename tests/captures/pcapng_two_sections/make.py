"""Two sections, the second big-endian with a link type of its own."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.files import interface, packet, section
from captures.links import RAW

talk = Conversation()
client, server = talk.ends
talk.open()
half = len(talk.tape.records)
talk.link = RAW
client.data(27)
server.ack()
talk.close(client)
capture = b"".join(
    [
        section(),
        interface(1, "eth0"),
        *map(packet, talk.tape.records[:half]),
        section(">"),
        interface(RAW.number, "tun0", order=">"),
        *(packet(each, order=">") for each in talk.tape.records[half:]),
    ]
)
