"""A socket connected to itself over loopback: one end plays both."""

from __future__ import annotations

from captures.conversation import Conversation
from captures.links import NULL

talk = Conversation(client=("127.0.0.1", 5000), server=("127.0.0.1", 5000), isns=(9, 9), link=NULL)
client = talk.client
client.syn()
client.send("SA", seq=0, ack=1)
client.data(5, ack=1)
client.ack(6)
capture = talk.pcap()
