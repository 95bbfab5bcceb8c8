"""Data both ways, the server closes first."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(27)
server.data(1000)
client.ack()
talk.close(server)
capture = talk.pcap()
