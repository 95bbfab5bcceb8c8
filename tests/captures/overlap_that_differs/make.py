"""The same place, other bytes."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10)
client.data(10, seq=1, payload=b"otherwise!")
server.ack()
talk.close(client)
capture = talk.pcap()
