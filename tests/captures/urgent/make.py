"""Urgent data stays in the stream."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.send("PAU", 10, urgptr=5)
server.ack()
talk.close(client)
capture = talk.pcap()
