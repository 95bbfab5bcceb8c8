"""Blocks of unknown and of private types stand between the packets."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.files import block, interface, packet, section

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = b"".join(
    [
        section(),
        interface(1, "eth0"),
        *(block(0x0BAD, b"what") + packet(each) for each in talk.tape.records),
        block(0x80000001, b"mine"),
    ]
)
