"""Too little was kept to read TCP."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.snap = server.snap = 40
talk.open()
client.data(10)
capture = talk.pcap()
