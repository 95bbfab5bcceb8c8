"""Two queues of a card: the SYN-ACK stands before the SYN in the capture."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10)
server.ack()
talk.close(client)
talk.tape.swap(1, 2)
capture = talk.pcap()
