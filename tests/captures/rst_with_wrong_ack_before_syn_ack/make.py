"""A RST that acknowledges something else does not refuse."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
server.reset_ack(seq=0, ack=77)
talk.wait(1)
client.syn()
capture = talk.pcap()
