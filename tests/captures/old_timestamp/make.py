"""A segment with an older timestamp is dropped (PAWS, RFC 7323 section 5); it comes again with a newer one."""

from __future__ import annotations

from captures.conversation import Conversation, Options


def stamp(value: int, echo: int) -> Options:
    return [("NOP", None), ("NOP", None), ("Timestamp", (value, echo))]


talk = Conversation()
client, server = talk.ends
client.syn(options=stamp(100, 0))
server.syn_ack(options=stamp(500, 100))
client.ack(options=stamp(101, 500))
client.data(10, options=stamp(102, 500))
server.ack(options=stamp(501, 102))
client.data(10, options=stamp(7, 500))
server.ack(11, options=stamp(502, 102))
talk.wait(0.2)
client.data(10, seq=11, options=stamp(130, 502))
server.ack(options=stamp(503, 130))
capture = talk.pcap()
