"""The swarm backend: hosts on several Docker engines, joined by an overlay network (docs/multi-machine.md)."""
