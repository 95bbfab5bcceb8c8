"""The mirror image: the server sends the first FIN."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
server = talk.server
talk.open()
talk.close(server)
capture = talk.pcap()
