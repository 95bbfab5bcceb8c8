"""An ACK without SYN opens nothing; the SYN comes again and is answered."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
server.ack(seq=40)
server.next = 0
talk.wait(1)
client.syn()
server.syn_ack()
client.ack()
capture = talk.pcap()
