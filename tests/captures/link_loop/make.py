"""OpenBSD loopback, family in network byte order."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.links import LOOP

talk = Conversation(link=LOOP)
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = talk.pcap()
