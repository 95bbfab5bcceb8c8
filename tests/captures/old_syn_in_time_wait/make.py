"""TIME-WAIT answers an old SYN with an ACK, is reset, and the copy of the SYN is taken."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
server = talk.server
talk.open()
talk.close(server)
old = talk.again(isns=(500, 80000))
old.client.syn()
server.ack()
old.client.reset(raw_seq=1002)
talk.wait(1)
old.open()
capture = talk.pcap()
