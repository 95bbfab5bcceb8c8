"""From evidence to a verdict with reasons. Pure."""
