"""An ACK out of nowhere draws a bare RST."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.send("A", seq=1, ack=34)
server.reset(seq=34)
capture = talk.pcap()
