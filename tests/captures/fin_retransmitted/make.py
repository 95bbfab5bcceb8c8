"""The FIN comes three times: tail loss probe, then timeout."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.fin()
talk.wait(0.02)
client.fin(seq=1)
talk.wait(0.2)
client.fin(seq=1)
server.fin()
client.ack()
capture = talk.pcap()
