"""The server answers the FIN with RST+ACK: it had unread data."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10)
client.fin()
server.reset_ack()
capture = talk.pcap()
