"""The server got the FIN, and aborts instead of closing."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.fin()
server.ack()
talk.wait(1)
server.reset_ack()
capture = talk.pcap()
