"""The second segment repeats the half of the first."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(100)
client.data(100, seq=51)
server.ack()
talk.close(client)
capture = talk.pcap()
