"""A segment in three IPv4 fragments."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(1000, fragment_size=400)
server.ack()
talk.close(client)
capture = talk.pcap()
