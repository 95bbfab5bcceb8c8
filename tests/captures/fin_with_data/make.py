"""The FIN rides on the last bytes."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10)
client.fin(20)
server.ack()
server.fin()
client.ack()
capture = talk.pcap()
