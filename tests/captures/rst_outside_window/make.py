"""A forged RST outside the window is ignored."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.reset(seq=900000)
client.data(10)
server.ack()
talk.close(client)
capture = talk.pcap()
