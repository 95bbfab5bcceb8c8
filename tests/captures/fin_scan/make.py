"""A FIN out of nowhere to an open port: silence."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client = talk.client
client.send("FA", seq=1, ack=34)
capture = talk.pcap()
