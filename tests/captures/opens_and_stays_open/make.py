"""The handshake and nothing else; still open when the capture ends."""

from __future__ import annotations

from captures.conversation import Conversation

talk = Conversation()
talk.open()
capture = talk.pcap()
