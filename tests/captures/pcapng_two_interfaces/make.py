"""Each direction on an interface of its own, one in micro-, one in nanoseconds."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.files import interface, packet, section

talk = Conversation()
client, server = talk.ends
server.interface = 1
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = b"".join(
    [
        section(),
        interface(1, "tx"),
        interface(1, "rx", digits=9),
        *(packet(each, digits=9 if each.interface else 6) for each in talk.tape.records),
    ]
)
