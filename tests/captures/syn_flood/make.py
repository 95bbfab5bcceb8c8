"""Five clients, one SYN each, and half of the answers."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
for number in range(5):
    other = Conversation(tape=talk.tape, client=("198.18.0.1", 41000 + number), isns=(1000 * number + 7, 9000))
    other.client.syn()
    if number % 2:
        other.server.syn_ack()
capture = talk.pcap()
