"""The client's FIN completes a fast open."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn(10, options=[(34, b"cookie!!")])
server.syn_ack()
client.fin()
server.ack()
server.fin()
client.ack()
capture = talk.pcap()
