"""An old SYN-ACK acknowledges what was never sent; it is reset, the attempt goes on (RFC 9293 figure 8)."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
server.syn_ack(raw_seq=70000, ack=500)
client.reset(seq=500)
talk.wait(1)
client.syn()
server.syn_ack()
client.ack()
capture = talk.pcap()
