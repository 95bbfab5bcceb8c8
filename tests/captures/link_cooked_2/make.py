"""Linux cooked capture, version 2."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.links import COOKED_2

talk = Conversation(link=COOKED_2)
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = talk.pcap()
