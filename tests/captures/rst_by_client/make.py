"""An abort: bare RST at the next byte."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
client.reset()
capture = talk.pcap()
