"""Two frames stand against their times in the file: as tshark and Zeek do, we go by the file, and say so."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(10)
client.data(10)
server.ack()
talk.close(client)
records = talk.tape.records
records[3], records[4] = records[4], records[3]
capture = talk.pcap()
