"""A lone RST."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client = talk.client
client.reset(seq=1)
capture = talk.pcap()
