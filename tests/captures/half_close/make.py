"""The client is done, the server still has a lot to say."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.fin()
server.ack()
server.data(1000)
client.ack()
server.fin()
client.ack()
capture = talk.pcap()
