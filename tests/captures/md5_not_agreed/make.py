"""Third ACKs with an unexpected MD5 signature are dropped; the one without completes (RFC 2385)."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
server.syn_ack()
client.ack(options=[(19, bytes(16))])
client.ack(options=[(19, bytes(16))])
client.ack()
capture = talk.pcap()
