"""BSD loopback, family in the host's byte order."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.links import NULL

talk = Conversation(link=NULL)
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = talk.pcap()
