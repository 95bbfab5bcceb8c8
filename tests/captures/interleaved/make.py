"""Three connections at the same time."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
others = [Conversation(tape=talk.tape, client=("198.18.0.1", 40001 + i), isns=(50000 * (i + 1), 7)) for i in range(2)]
for each in (talk, *others):
    each.client.syn()
for each in (talk, *others):
    each.server.syn_ack()
for each in (talk, *others):
    each.client.ack()
client.data(27)
others[0].client.data(10)
server.ack()
others[1].server.reset()
others[0].close(others[0].client)
talk.close(client)
capture = talk.pcap()
