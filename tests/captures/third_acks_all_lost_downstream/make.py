"""Every bare ACK is lost after the capture point: the server forgets and resets the late data."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
talk.wait(1)
server.syn_ack()
client.ack()
talk.wait(2)
client.data(27)
server.reset()
capture = talk.pcap()
