"""Linux cooked capture (LINKTYPE_LINUX_SLL)."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.links import COOKED

talk = Conversation(link=COOKED)
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = talk.pcap()
