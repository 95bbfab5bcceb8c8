"""Router alert in the IPv4 header of each packet."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation(ip_options=b"\x94\x04\0\0")
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = talk.pcap()
