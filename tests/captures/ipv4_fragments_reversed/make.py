"""The fragments arrive last first."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(1000, fragment_size=400)
server.ack()
talk.close(client)
talk.tape.swap(4, 6)
capture = talk.pcap()
