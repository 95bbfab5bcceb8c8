"""pcap with nanoseconds."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.files import NANO

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = talk.pcap(magic=NANO)
