"""Initial numbers of 0, which some tools take for unset."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation(isns=(0, 0))
client, server = talk.ends
talk.open()
client.data(10)
server.ack()
talk.close(client)
capture = talk.pcap()
