"""10 of 18 bytes on the SYN are acknowledged; the rest comes again."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn(18, options=[(34, b"cookie!!")])
server.syn_ack(ack=11)
client.data(8, seq=11)
server.ack()
capture = talk.pcap()
