"""The client closed and its FIN was acknowledged; its RST later leaves the close a FIN."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.fin()
server.ack()
talk.wait(60)
client.reset()
capture = talk.pcap()
