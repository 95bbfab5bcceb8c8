"""FIN, PSH and URG without ACK; a closed port answers with RST+ACK."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.send("FPU", seq=1)
server.reset_ack(raw_seq=0)
capture = talk.pcap()
