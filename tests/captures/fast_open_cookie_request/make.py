"""The first connection only asks for a cookie; it is an ordinary handshake."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn(options=[(34, b"")])
server.syn_ack(options=[(34, b"cookie!!")])
client.ack()
client.data(10)
server.ack()
capture = talk.pcap()
