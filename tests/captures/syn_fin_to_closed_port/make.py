"""SYN and FIN at once, refused: the RST acknowledges both."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.send("SF", seq=0)
server.reset_ack(raw_seq=0)
capture = talk.pcap()
