"""The client speaks to a queue whose listener dies: RST+ACK after the handshake."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
server.reset_ack()
capture = talk.pcap()
