"""A FIN that acknowledges data never sent closes nothing."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.fin(seq=1, ack=9999)
client.next = 1
client.data(10, ack=1)
server.ack()
capture = talk.pcap()
