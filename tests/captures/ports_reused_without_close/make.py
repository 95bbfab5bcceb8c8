"""The first connection's end was not captured; a SYN with a new number is answered."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10)
server.ack()
talk.wait(300)
new = talk.again(isns=(900000, 800000))
new.open()
new.client.data(20)
new.server.ack()
capture = talk.pcap()
