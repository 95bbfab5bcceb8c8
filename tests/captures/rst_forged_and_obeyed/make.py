"""A forged RST in the client's name: the server is gone and resets the client's data."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.reset()
client.data(10)
server.reset()
capture = talk.pcap()
