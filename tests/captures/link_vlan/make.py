"""An 802.1Q tag."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.links import VLAN

talk = Conversation(link=VLAN)
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = talk.pcap()
