"""A closed port refuses a SYN with 9 bytes: ack is ISN + 1 + 9; nothing was delivered."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn(9)
server.reset_ack(raw_seq=0)
capture = talk.pcap()
