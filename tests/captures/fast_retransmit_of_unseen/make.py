"""Lost before the capture point; SACKs ask for it, and it comes once."""

from __future__ import annotations

from captures.conversation import Conversation, Options


def sacked(segments: int) -> Options:
    return [("NOP", None), ("NOP", None), ("SAck", (5000 + 1461, 5000 + 1461 + 1460 * segments))]


talk = Conversation()
client, server = talk.ends
talk.open()
server.data(1460, unseen=True)
server.data(1460)
client.ack(1, options=sacked(1))
server.data(1460)
client.ack(1, options=sacked(2))
server.data(1460)
client.ack(1, options=sacked(3))
talk.wait(0.05)
server.data(1460, seq=1)
client.ack()
talk.close(server)
capture = talk.pcap()
