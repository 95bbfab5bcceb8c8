"""Scenario files: the values they hold, their schema, and the reading of them with located errors. Pure."""
