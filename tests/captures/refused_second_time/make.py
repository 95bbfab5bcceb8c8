"""The first SYN is lost, the copy is refused."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
talk.wait(1)
client.syn()
server.reset_ack(raw_seq=0)
capture = talk.pcap()
