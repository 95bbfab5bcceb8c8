"""The words that `result.json` and comments carry, and what is not said where nothing is."""

from __future__ import annotations

from testbed.verdict.value import EITHER, FULL, NEVER_CAPTURED, Change, Check, FaultHit, Outcome, Trip


def test_words() -> None:
    """Verdicts, changes and causes of losses are a contract with readers of `result.json`."""
    assert [outcome.value for outcome in Outcome] == ["passed", "failed", "unknown"]
    assert {change.name: change.value for change in Change} == {
        "NONE": "",
        "DELAYED": "delayed",
        "REWRITTEN": "rewritten",
        "CORRUPTED": "corrupted",
        "DUPLICATED": "duplicated",
        "FORGED": "forged",
    }
    assert (NEVER_CAPTURED, FULL, EITHER) == ("never captured", "queue full", "chance or a full queue")


def test_nothing_said() -> None:
    """A check without a reason, a trip without a change, an entry that made nothing."""
    check = Check("a", Outcome.PASSED, "b", "c")
    assert (check.why, check.packets, check.line) == ("", (), None)
    trip = Trip("a", "b", 1, 2, 3, None, 4, 5, "delivered")
    assert (trip.cause, trip.change, trip.by) == ("", Change.NONE, "")
    assert FaultHit(1, "a", 0, "b", None).made == ()
