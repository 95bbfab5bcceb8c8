"""The FIN is sent again and again to nobody."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client = talk.client
talk.open()
client.fin()
talk.wait(0.2)
client.fin(seq=1)
talk.wait(0.4)
client.fin(seq=1)
talk.wait(0.8)
client.fin(seq=1)
capture = talk.pcap()
