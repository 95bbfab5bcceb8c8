"""Whatever an agent says, of the right shape or of none: a run gives evidence that can be judged, or a typed error."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from saying import MESSAGES, listen_to

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
PLACES = st.integers(0, len(MESSAGES) - 1)


@settings(max_examples=150, deadline=None)
@given(PLACES, st.lists(st.tuples(st.integers(0, 20), JSON), min_size=1, max_size=4))
def test_any_value_in_any_place(which: int, changes: list[tuple[int, object]]) -> None:
    """A message with some of its values replaced by any others."""
    message = dict(MESSAGES[which])
    keys = list(message)
    for place, value in changes:
        message[keys[place % len(keys)]] = value
    listen_to(json.dumps(message).encode() + b"\n")


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes(said: bytes) -> None:
    """Not even JSON."""
    listen_to(said + b"\n")


@settings(max_examples=80, deadline=None)
@given(st.lists(JSON, max_size=5))
def test_any_json(said: list[object]) -> None:
    """JSON that is no message."""
    listen_to(b"".join(json.dumps(one).encode() + b"\n" for one in said))
