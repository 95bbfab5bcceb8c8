"""A segment in IPv6 fragments."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation(client=("2001:db8::1", 40000), server=("2001:db8::2", 7456))
client, server = talk.ends
talk.open()
client.data(3000, fragment_size=1280)
server.ack()
talk.close(client)
capture = talk.pcap()
