"""A late segment to a closed socket draws a RST, which does not change the close."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
talk.close(client)
client.ack()
server.reset()
capture = talk.pcap()
