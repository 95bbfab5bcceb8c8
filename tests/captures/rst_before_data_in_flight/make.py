"""The sender aborts with data not yet acknowledged: RST after all that was sent."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(100)
client.data(100)
client.reset_ack()
server.ack(101)
client.reset(seq=101)
capture = talk.pcap()
