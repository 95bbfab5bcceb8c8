"""The third ACK is lost before the capture point; the first data completes the handshake."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
server.syn_ack()
client.ack(unseen=True)
client.data(27)
server.ack()
capture = talk.pcap()
