"""After the close the server connects back between the same ports."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client = talk.client
talk.open()
talk.close(client)
back = Conversation(tape=talk.tape, client=("198.18.0.2", 7456), server=("198.18.0.1", 40000), isns=(900000, 800000))
back.open()
back.client.data(10)
back.close(back.client)
capture = talk.pcap()
