"""A SYN beyond the old numbers reopens a TIME-WAIT at once (RFC 6191)."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client = talk.client
talk.open()
talk.close(client)
new = talk.again(isns=(9000, 80000))
new.open()
new.client.data(10)
new.server.ack()
capture = talk.pcap()
