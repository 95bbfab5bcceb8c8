"""A segment with a wrong TCP checksum is dropped; it comes again."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10, chksum=0x1234)
talk.wait(0.2)
client.data(10, seq=1)
server.ack()
talk.close(client)
capture = talk.pcap()
