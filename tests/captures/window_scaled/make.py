"""With a scale of 7 far more than 65535 bytes may be under way."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.snap = server.snap = 80
client.syn(options=[("MSS", 1460), ("NOP", None), ("WScale", 7)])
server.syn_ack(options=[("MSS", 1460), ("NOP", None), ("WScale", 7)])
client.ack(window=502)
client.data(20000)
server.ack(window=1000)
for _ in range(4):
    client.data(20000)
server.ack()
talk.close(client)
capture = talk.pcap()
