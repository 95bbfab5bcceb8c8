"""Both initial numbers stand just before 2^32."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation(isns=(2**32 - 10, 2**32 - 1))
client, server = talk.ends
talk.open()
client.data(100)
server.ack()
server.data(50)
client.ack()
talk.close(client)
capture = talk.pcap()
