"""ECN by RFC 3168: ECE and CWR on the SYN, ECE on the SYN-ACK, then ECE and CWR on data."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.send("SEC", seq=0)
server.send("SAE", seq=0)
client.ack()
client.data(10)
server.send("AE")
client.send("PAC", 10)
server.ack()
capture = talk.pcap()
