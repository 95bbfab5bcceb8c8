"""TCP, sans I/O: packets in, connections out. The only place that knows TCP (RFC 9293)."""
