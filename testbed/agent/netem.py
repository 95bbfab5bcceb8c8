"""An impairment as tc-netem(8) is told it, and what tc shows of it as an impairment again.

What `tc qdisc change` is not told stays as it was for some of netem's settings (correlation, reorder, corrupt, rate;
netem_change in net/sched/sch_netem.c), and another qdisc in its place would lose the packets under way. So each command
says everything, zeros too. Only a table of delays cannot be taken back: a lane that ever has one gets a table of
the uniform distribution instead of none.

tc shows fractions with six digits, and in 6.1 it counts times in units of 64 ns from whole microseconds: what differs
by less is as asked. It never shows the distribution, and a blackhole is a loss of 100 %.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from testbed.agent.impairments import NONE, Impairment, netem_arguments

LEAST_DELAY_NS = 1000  # netem neither jitters nor reorders without a delay, and tc counts in microseconds
UNIFORM_TABLE = 4096
SIGMA = 8192  # NETEM_DIST_SCALE

OFF = {  # by tc's word: how it is said whole, with nothing asked
    "limit": (),
    "delay": ("0us", "0us", "0%"),
    "loss": ("random", "0%", "0%"),
    "duplicate": ("0%", "0%"),
    "reorder": ("0%", "0%"),
    "corrupt": ("0%", "0%"),
    "rate": ("0bit",),
}
NS, PERCENT, BIT, COUNT = 1e9, 100.0, 8, 1
SHOWN = {  # field: where tc's JSON has it, and how much one of that is
    "delay_ns": ("delay", "delay", NS),
    "jitter_ns": ("delay", "jitter", NS),
    "jitter_correlation_percent": ("delay", "correlation", PERCENT),
    "loss_percent": ("loss-random", "loss", PERCENT),
    "loss_correlation_percent": ("loss-random", "correlation", PERCENT),
    "duplicate_percent": ("duplicate", "duplicate", PERCENT),
    "duplicate_correlation_percent": ("duplicate", "correlation", PERCENT),
    "reorder_percent": ("reorder", "reorder", PERCENT),
    "reorder_correlation_percent": ("reorder", "correlation", PERCENT),
    "corrupt_percent": ("corrupt", "corrupt", PERCENT),
    "corrupt_correlation_percent": ("corrupt", "correlation", PERCENT),
    "rate_bit": ("rate", "rate", BIT),
}
MODELS = {
    "gilbert_elliott_percent": ("loss-gemodel", ("p", "r", "1-h", "1-k")),
    "loss_states_percent": ("loss-state", ("p13", "p31", "p32", "p23", "p14")),
}
MEANT_BY = {  # field: the one without which it means nothing, and tc is not told it
    "jitter_correlation_percent": "jitter_ns",
    "loss_correlation_percent": "loss_percent",
    "duplicate_correlation_percent": "duplicate_percent",
    "reorder_correlation_percent": "reorder_percent",
    "reorder_gap": "reorder_percent",
    "corrupt_correlation_percent": "corrupt_percent",
}
ROUNDING = {"_ns": 2000.0, "_percent": 1e-7, "_bit": 8.0}  # by unit, and a hundred-thousandth of the value


def netem_words(asked: Impairment, table: str = "") -> list[str]:
    """All that stands behind `netem`; `table`: what to say instead of no distribution, where that is no way back."""
    told: dict[str, list[str]] = {}
    word = ""
    for said in netem_arguments(told_to_tc(asked)):
        if said in OFF:
            word = said
            told[word] = []
        else:
            told[word].append(_in_microseconds(said))
    words = []
    for word, off in OFF.items():
        given = told.get(word, [])
        words += [word, *given, *off[len(given) :]]
        if word == "delay" and table and asked.jitter_ns and "distribution" not in given:
            words += ["distribution", table]
    return words


def told_to_tc(asked: Impairment) -> Impairment:
    """What tc is asked for so that netem does what is asked."""
    if asked.blackhole:
        return Impairment(blackhole=True, limit_packets=asked.limit_packets)
    needs_delay = asked.jitter_ns or asked.reorder_percent
    return replace(asked, delay_ns=LEAST_DELAY_NS) if needs_delay and asked.delay_ns < LEAST_DELAY_NS else asked


def uniform_table() -> str:
    """A table of the uniform distribution, as tc reads them: what a draw is, in 8192ths of the jitter."""
    step = 2 * SIGMA / UNIFORM_TABLE
    return "".join(f"{round(-SIGMA + step * (place + 0.5))}\n" for place in range(UNIFORM_TABLE))


def _in_microseconds(word: str) -> str:
    time = re.fullmatch(r"(\d+)ns", word)  # a unit that tc 6.1 does not know
    if not time:
        return word
    whole, part = divmod(int(time[1]), 1000)
    return f"{whole}.{part:03d}us" if part else f"{whole}us"


def read_back(options: Mapping[str, Any], asked: Impairment) -> Impairment:
    """The impairment that netem's options in `tc -j qdisc show` are; what differs by tc's rounding is as asked."""
    wanted = visible(asked)
    had: dict[str, Any] = {"reorder_gap": options.get("gap") or 1, "limit_packets": options.get("limit", 0)}
    for field, (group, name, unit) in SHOWN.items():
        number = options.get(group, {}).get(name, 0) * unit
        had[field] = round(number, 8) if unit == PERCENT else round(number)
    for field, (group, names) in MODELS.items():
        had[field] = tuple(round(options[group][name] * PERCENT, 8) for name in names) if group in options else ()
    different = {field: value for field, value in had.items() if not _alike(field, value, getattr(wanted, field))}
    if asked.blackhole and different:
        return Impairment(**had)
    return replace(asked, **different)


def visible(asked: Impairment) -> Impairment:
    """What tc shows when this was asked: a field that means nothing by itself was not told."""
    seen = told_to_tc(asked)
    if seen.blackhole:
        return replace(seen, loss_percent=100.0)
    if seen.gilbert_elliott_percent:
        seen = replace(seen, loss_percent=0.0, loss_states_percent=())
    elif seen.loss_states_percent:
        seen = replace(seen, loss_percent=0.0)
    missing: dict[str, Any] = {
        field: getattr(NONE, field) for field, needs in MEANT_BY.items() if not getattr(seen, needs)
    }
    return replace(seen, **missing)


def _alike(field: str, had: Any, wanted: Any) -> bool:
    if isinstance(wanted, tuple):
        return len(had) == len(wanted) and all(_alike(field, *pair) for pair in zip(had, wanted))
    rounding = next((size for unit, size in ROUNDING.items() if field.endswith(unit)), 0.0)
    return bool(abs(had - wanted) <= (rounding + 1e-5 * wanted if rounding else 0))
