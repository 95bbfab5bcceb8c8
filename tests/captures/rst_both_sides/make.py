"""Both abort."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.reset_ack()
server.reset_ack()
capture = talk.pcap()
