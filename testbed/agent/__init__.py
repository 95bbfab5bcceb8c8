"""The agent: one process per host that plays steps, captures, samples socket states and runs the portable link.

Standard library only, Python 3.9 and later: it runs in whatever image the user has. What it and the orchestrator say to
each other is in docs/agent-protocol.md.
"""
