"""SYN copies lose ECN and AccECN flags from the third on; same number, so still copies."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.send("SECN", seq=0)
talk.wait(1)
client.send("SECN", seq=0)
talk.wait(1)
client.syn()
talk.wait(1)
client.syn()
server.syn_ack()
client.ack()
capture = talk.pcap()
