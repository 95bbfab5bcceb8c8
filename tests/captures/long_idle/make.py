"""Two days of silence do not cut a connection in two."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10)
server.ack()
talk.wait(172800)
client.data(10)
server.ack()
talk.close(client)
capture = talk.pcap()
