"""The same ports again after a close, with a new number."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10)
server.ack()
talk.close(client)
talk.wait(90)
new = talk.again(isns=(900000, 800000))
new.open()
new.close(new.server)
capture = talk.pcap()
