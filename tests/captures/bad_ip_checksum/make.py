"""A packet with a wrong IPv4 header checksum never arrives; Zeek passes it over altogether."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
talk.ip_checksum = 0x1234
client.data(10)
talk.ip_checksum = None
talk.wait(0.2)
client.data(10, seq=1)
server.ack()
talk.close(client)
capture = talk.pcap()
