"""The same ports after an abort."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client = talk.client
talk.open()
client.reset()
new = talk.again(isns=(900000, 800000))
new.open()
new.close(new.client)
capture = talk.pcap()
