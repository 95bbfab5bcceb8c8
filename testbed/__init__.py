"""A containerized multi-host network testbed: verdicts on TCP handshakes and teardowns, with packet evidence."""

__version__ = "0.1.0"
