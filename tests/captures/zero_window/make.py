"""The window closes and opens again."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(1000)
server.ack(window=0)
talk.wait(1)
server.ack()
client.data(1000)
server.ack()
talk.close(client)
capture = talk.pcap()
