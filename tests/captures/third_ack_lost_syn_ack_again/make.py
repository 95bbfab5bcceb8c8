"""The third ACK is lost, nobody speaks: the SYN-ACK comes again and completes a second late."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
server.syn_ack()
client.ack(unseen=True)
talk.wait(1)
server.syn_ack()
client.ack()
capture = talk.pcap()
