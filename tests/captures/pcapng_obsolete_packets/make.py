"""Packet blocks as old files have them."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.files import interface, obsolete_packet, section

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = b"".join([section(), interface(1, "eth0"), *map(obsolete_packet, talk.tape.records)])
