"""SYN and RST at once are no SYN."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client = talk.client
client.send("SR", seq=0)
capture = talk.pcap()
