"""Capture files: what a record holds, and the reading and writing of pcap and pcapng. Pure: bytes in, values out."""
