"""Kuznetsov's modified pcap, whose records are longer."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.files import MODIFIED

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = talk.pcap(magic=MODIFIED)
