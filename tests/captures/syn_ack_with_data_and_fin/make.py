"""A SYN-ACK carries 100 bytes and a FIN."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
server.send("SFA", 100, seq=0)
client.ack()
capture = talk.pcap()
