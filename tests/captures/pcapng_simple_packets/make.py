"""Simple packet blocks have no times; the order of the file is all there is."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.files import interface, section, simple_packet

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = b"".join([section(), interface(1, "eth0"), *map(simple_packet, talk.tape.records)])
