"""Three unanswered attempts from the same port, each with a number of its own."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client = talk.client
client.syn()
talk.wait(5)
talk.again(isns=(70000, 0)).client.syn()
talk.wait(5)
talk.again(isns=(900000, 0)).client.syn()
capture = talk.pcap()
