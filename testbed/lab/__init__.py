"""Bringing hosts up and taking them down: the backends, and what they need of the machine. Edge."""
