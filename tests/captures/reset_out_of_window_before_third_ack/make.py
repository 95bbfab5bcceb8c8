"""A RST far outside the window between SYN-ACK and third ACK changes nothing (RFC 5961 section 3)."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
server.syn_ack()
client.reset(seq=900000)
client.ack()
talk.close(client)
capture = talk.pcap()
