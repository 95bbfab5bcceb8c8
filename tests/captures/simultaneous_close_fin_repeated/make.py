"""FreeBSD answers the crossing FIN by its FIN again with the new acknowledgement."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
server.fin()
client.fin(ack=1)
server.fin(seq=1, ack=2)
client.ack()
capture = talk.pcap()
