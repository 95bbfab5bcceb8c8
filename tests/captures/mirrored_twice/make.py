"""A mirror port hears every frame twice, bit for bit: no retransmissions."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
talk.tape.double()
capture = talk.pcap()
