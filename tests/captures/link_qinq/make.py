"""Two tags: 802.1ad and 802.1Q."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.links import QINQ

talk = Conversation(link=QINQ)
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = talk.pcap()
