"""The capture lost a segment that the receiver had: a hole, not a retransmission."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(100)
client.data(100, unseen=True)
client.data(100)
server.ack()
talk.close(client)
capture = talk.pcap()
