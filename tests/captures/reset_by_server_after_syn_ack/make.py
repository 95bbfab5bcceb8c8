"""The server resets before the third ACK, as when its listener is closed."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn()
server.syn_ack()
server.reset_ack()
capture = talk.pcap()
