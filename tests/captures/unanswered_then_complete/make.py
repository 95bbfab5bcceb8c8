"""An attempt without answer, then another from the same port that succeeds."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client = talk.client
client.syn()
talk.wait(5)
new = talk.again(isns=(70000, 90000))
new.open()
capture = talk.pcap()
