"""The last ACK is lost: the server's FIN comes again."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.fin()
server.fin()
client.ack(unseen=True)
talk.wait(0.2)
server.fin(seq=1)
client.ack()
capture = talk.pcap()
