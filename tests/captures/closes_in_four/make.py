"""Each FIN acknowledged by itself."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.fin()
server.ack()
server.fin()
client.ack()
capture = talk.pcap()
