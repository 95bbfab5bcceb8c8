"""Data on the SYN is taken (RFC 7413): the SYN-ACK acknowledges it, and the server speaks before the third ACK."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn(10, options=[(34, b"cookie!!")])
server.syn_ack()
server.data(100)
client.ack()
talk.close(client)
capture = talk.pcap()
