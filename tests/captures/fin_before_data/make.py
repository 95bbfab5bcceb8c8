"""The FIN overtakes the last data."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10, unseen=True)
client.fin()
client.data(10, seq=1)
server.ack()
server.fin()
client.ack()
capture = talk.pcap()
