"""CLOSE_WAIT leak: the server closed, the client never does."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
server.fin()
client.ack()
capture = talk.pcap()
