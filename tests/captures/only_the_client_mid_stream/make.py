"""One-sided and late: only the client's data and FIN."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client = talk.client
client.data(10, seq=1, ack=1)
client.data(10, ack=1)
client.fin(ack=1)
capture = talk.pcap()
