"""The SYN-ACK is lost after the capture point; both timers fire, and an extra SYN-ACK is acknowledged twice."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
server.syn_ack()
talk.wait(1)
server.syn_ack()
client.syn()
client.ack()
server.syn_ack()
client.ack()
talk.close(client)
capture = talk.pcap()
