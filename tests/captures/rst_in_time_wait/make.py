"""A RST from the side that closed first, after both FINs."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client = talk.client
talk.open()
talk.close(client)
client.reset()
capture = talk.pcap()
