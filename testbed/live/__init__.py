"""Watching a run while it goes on: on a terminal, line by line, and as a capture for another program."""
