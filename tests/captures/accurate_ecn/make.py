"""Accurate ECN: AE, CWR and ECE on the SYN, CWR alone on the SYN-ACK (RFC 9768 section 3.1)."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.send("SECN", seq=0)
server.send("SAC", seq=0)
client.ack()
client.send("PAN", 10)
server.send("AC")
talk.close(client)
capture = talk.pcap()
