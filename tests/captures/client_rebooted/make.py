"""Rebooted client: its SYN is challenged, it resets the old connection, its next SYN is taken (RFC 9293 figure 10)."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10)
server.ack()
talk.wait(60)
new = talk.again(isns=(700000, 90000))
new.client.syn()
server.ack()
client.reset()
talk.wait(1)
new.open()
new.client.data(5)
new.server.ack()
capture = talk.pcap()
