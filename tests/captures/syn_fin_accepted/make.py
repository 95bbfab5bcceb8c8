"""SYN and FIN at once, answered as a SYN by a listener."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.send("SF", seq=0)
server.syn_ack(ack=1)
client.reset(seq=1)
capture = talk.pcap()
