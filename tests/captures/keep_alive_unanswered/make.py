"""The peer vanished: keep-alives, then RST."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10)
server.ack()
talk.wait(60)
client.send("A", seq=10)
talk.wait(1)
client.send("A", seq=10)
talk.wait(1)
client.reset_ack()
capture = talk.pcap()
