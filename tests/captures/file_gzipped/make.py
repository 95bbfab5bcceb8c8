"""A pcap inside gzip."""

from __future__ import annotations

import gzip

from captures.conversation import Conversation

talk = Conversation()
client, server = talk.ends
talk.open()
client.data(27)
server.ack()
talk.close(client)
capture = gzip.compress(talk.pcap(), compresslevel=0, mtime=0)
