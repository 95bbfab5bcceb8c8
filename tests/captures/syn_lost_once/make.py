"""The first SYN is lost; the second, a second later, is answered (RFC 9293 section 3.8.1)."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
client = talk.client
client.syn()
talk.wait(1)
talk.open()
talk.close(client)
capture = talk.pcap()
