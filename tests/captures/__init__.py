"""The corpus: what can happen to a TCP connection, a folder for each, and what is right to say of it.

A folder holds `make.py` (a conversation, in a few lines), `capture.pcap` or `.pcapng` as it came out, `expected.json`
and `why.txt`. The expectations are written from the rules (RFCs, Zeek's and Wireshark's), not from our output.

* `expected.json` is a part of what `testbed analyze --json` says, and compared as such (see `corpus`).
* `cd tests && python -m captures [NAME...]` makes captures anew. They come out the same: times, numbers, addresses
  and IP ids are fixed.
"""
