"""IPv6 without a link header (LINKTYPE_IPV6)."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.links import IPV6

talk = Conversation(client=("2001:db8::1", 40000), server=("2001:db8::2", 7456), link=IPV6)
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = talk.pcap()
