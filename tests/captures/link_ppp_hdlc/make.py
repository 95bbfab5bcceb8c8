"""PPP in HDLC-like framing (LINKTYPE_PPP_HDLC)."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.links import PPP_HDLC

talk = Conversation(link=PPP_HDLC)
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = talk.pcap()
