"""Raw IPv4 (LINKTYPE_IPV4)."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.links import IPV4

talk = Conversation(link=IPV4)
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = talk.pcap()
