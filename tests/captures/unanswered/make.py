"""Four SYNs and silence."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client = talk.client
client.syn()
talk.wait(1)
client.syn()
talk.wait(2)
client.syn()
talk.wait(4)
client.syn()
capture = talk.pcap()
