"""The capture misses the SYN."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn(unseen=True)
server.syn_ack()
client.ack()
client.data(10)
server.ack()
talk.close(client)
capture = talk.pcap()
