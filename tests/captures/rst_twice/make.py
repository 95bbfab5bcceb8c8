"""The RST comes twice at the same place."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client = talk.client
talk.open()
client.data(27)
client.reset()
client.reset()
capture = talk.pcap()
