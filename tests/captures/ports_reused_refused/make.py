"""After the close nobody listens any more."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client = talk.client
talk.open()
talk.close(client)
new = talk.again(isns=(900000, 0))
new.client.syn()
new.server.reset_ack(raw_seq=0)
capture = talk.pcap()
