"""A FIN without ACK flag is dropped."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client = talk.client
talk.open()
client.send("F", seq=1)
capture = talk.pcap()
