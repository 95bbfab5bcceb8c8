"""The capture lost the last data before the FIN."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(100)
client.data(100, unseen=True)
server.ack()
talk.close(client)
capture = talk.pcap()
