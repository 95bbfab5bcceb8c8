"""A window of 0 on a SYN is legal and no zero window event of ours; Zeek writes W all the same."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn(window=0)
server.syn_ack()
client.ack()
capture = talk.pcap()
