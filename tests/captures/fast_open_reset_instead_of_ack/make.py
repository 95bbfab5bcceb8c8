"""RST instead of the third ACK; the data on the SYN was delivered all the same."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn(10, options=[(34, b"cookie!!")])
server.syn_ack()
client.reset_ack()
capture = talk.pcap()
