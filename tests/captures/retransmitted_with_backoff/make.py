"""The same segment three times: 0.2 s, 0.4 s."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10)
talk.wait(0.2)
client.data(10, seq=1)
talk.wait(0.4)
client.data(10, seq=1)
server.ack()
talk.close(client)
capture = talk.pcap()
