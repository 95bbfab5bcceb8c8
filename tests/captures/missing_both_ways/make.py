"""The capture lost data of both sides."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(100)
client.data(100, unseen=True)
client.data(100)
server.data(500, unseen=True)
server.data(20)
client.ack()
talk.close(client)
capture = talk.pcap()
