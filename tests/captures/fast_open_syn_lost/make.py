"""The SYN with data is lost; its copy has no data and no cookie."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn(100, options=[(34, b"cookie!!")])
talk.wait(1)
client.syn()
server.syn_ack(ack=1)
client.data(100, seq=1)
server.ack()
capture = talk.pcap()
