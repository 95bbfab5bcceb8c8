"""Two segments change places on the way."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10, seq=11)
client.data(10, seq=1)
server.ack()
talk.close(client)
capture = talk.pcap()
