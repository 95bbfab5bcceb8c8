"""IPv6 in Linux cooked capture, version 2."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.links import COOKED_2

talk = Conversation(client=("2001:db8::1", 40000), server=("2001:db8::2", 7456), link=COOKED_2)
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = talk.pcap()
