"""A RST exactly in place, lost after the capture point or forged towards the wrong end: the connection goes on."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.reset()
client.data(10)
server.ack()
talk.close(client)
capture = talk.pcap()
