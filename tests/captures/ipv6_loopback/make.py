"""IPv6 over BSD loopback, where the family is 30."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.links import NULL

talk = Conversation(client=("2001:db8::1", 40000), server=("2001:db8::2", 7456), link=NULL)
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = talk.pcap()
