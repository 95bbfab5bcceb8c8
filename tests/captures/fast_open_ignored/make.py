"""The server takes the SYN and not its data, which comes again at once."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
client.syn(10, options=[(34, b"cookie!!")])
server.syn_ack(ack=1)
client.data(10, seq=1)
server.ack()
talk.close(client)
capture = talk.pcap()
