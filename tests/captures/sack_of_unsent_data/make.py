"""A SACK block for data that was never sent."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10)
server.ack(options=[("NOP", None), ("NOP", None), ("SAck", (9000, 9100))])
talk.close(client)
capture = talk.pcap()
