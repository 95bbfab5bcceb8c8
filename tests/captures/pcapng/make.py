"""The plain connection in pcapng."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.files import interface, packet, section

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = b"".join([section(), interface(1, "eth0"), *map(packet, talk.tape.records)])
