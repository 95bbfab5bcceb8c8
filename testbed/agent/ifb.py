"""The netem link: an IFB device whose netem holds packets back, in step with the scenario's timeline.

An Intermediate Functional Block (ip-link(8)) is a device that gives what is redirected to it back to the interface
where it arrived, once it has gone through the qdiscs: the kernel then receives it as if it had arrived just then.
There is no process: a timer tells when a phase begins, `tc` changes the lanes (`lanes`) and shows what they are.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import time
from collections.abc import Mapping
from typing import Any

from testbed.agent import command, lanes, netem
from testbed.agent.child import problem
from testbed.agent.host import NotAsAsked
from testbed.agent.impairments import to_message
from testbed.agent.standing import without_counters
from testbed.agent.timer import Timer

SEEDS_SINCE = (6, 6)  # iproute2 and Linux
UP_TO_ROOT = "../" * 16  # from wherever this tc has its tables


class Link:
    """An IFB named `name`, down until somebody sets it up; the same shape as the portable `link.Link`."""

    engine = "netem"

    def __init__(self, name: str, link: Mapping[str, Any], interface: str) -> None:
        if link.get("faults"):
            raise ValueError("link.faults: only the portable engine knows single packets")
        self.name = name
        self.interface = interface
        self.seeded = False
        self._times = lanes.read_phases(link)
        self._ways = lanes.read_ways(link)
        self._lanes = lanes.lay_lanes(self._ways)
        self._seed = link.get("seed", 0)
        self._phase = 0
        self._due: list[int] = []  # when the phases to come begin, CLOCK_REALTIME
        self._wrong = ""  # what went wrong at a phase
        self._table = ""  # the file of the uniform distribution
        self._left: list[dict[str, Any]] = []  # the qdiscs as they were when they were last told
        self._filters = ""
        self._timer = Timer()
        command.run(["ip", "link", "add", "name", name, "type", "ifb"])
        self._made = True

    def arm(self, mac: str) -> None:
        """Put the lanes of phase 0 up, and read them back. Raises OSError. An IFB needs no address."""
        seeds = self._seeds()
        command.batch("tc", lanes.put_up(self.name, self._lanes, self._ways, seeds, self._uniform()))
        self._remember()
        self._filters = self._show_filters()
        shown = [found["options"].get("seed") for found in self._left if found["kind"] == "netem"]
        self.seeded = bool(seeds) and sorted(shown, key=str) == sorted(seeds, key=str)

    def begin(self, start_ns: int) -> None:
        """The timeline counts from this moment of CLOCK_REALTIME."""
        self._due = [start_ns + at_ns for at_ns in self._times[self._phase + 1 :]]
        self._set_timer()

    def fileno(self) -> int:
        """Readable when a phase is to begin."""
        return self._timer.fileno()

    def read_events(self) -> list[dict[str, Any]]:
        """Begin the phases whose time has come; a `wire` event for each that holds, or a `problem`."""
        self._timer.hush()
        events = []
        while self._due and self._due[0] <= time.time_ns():
            del self._due[0]
            events.append(self._go_on())
        self._set_timer()
        return events

    def read(self) -> dict[str, Any]:
        """`phase`, `settings` and counters as tc has them now, and `why` the qdiscs are not as they were left.

        Raises OSError where there is nothing to read any more.
        """
        shown = self._show()
        held = _by_handle(shown)
        return {
            "phase": self._phase,
            "why": self._wrong or self._differs(shown),
            "settings": self._settings(held),
            "out": sum(found["packets"] for found in shown if found.get("root")),
            **self._dropped(held),
            "waiting": sum(found["qlen"] for found in held.values()),
            "ledger": [],
        }

    def close(self) -> None:
        """Remove the device, and what waited in it. May be called again. Raises OSError."""
        self._timer.close()
        if self._table:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._table)  # noqa: PTH108 - pathlib is slow to load
            self._table = ""
        if self._made:
            self._made = False
            try:
                command.run(["ip", "link", "del", "dev", self.name])
            except command.CommandRefused as trouble:
                if "Cannot find device" not in trouble.output:
                    raise

    def _seeds(self) -> list[int]:
        """A seed for each lane, by its place, where this tc can say one. Which the kernel took is read back."""
        version = re.search(r"iproute2-(\d+)\.(\d+)", command.run(["tc", "-V"]))
        if not version or (int(version[1]), int(version[2])) < SEEDS_SINCE:
            return []
        return [random.Random(f"{self._seed} {lane.classid}").getrandbits(63) for lane in self._lanes]

    def _uniform(self) -> str:
        """What to say for the uniform distribution where a lane ever has a table; makes the file that tc reads."""
        if not any(lane.by_table for lane in self._lanes):
            return ""
        path = f"/tmp/testbed-uniform-{os.getpid()}-{os.urandom(4).hex()}"
        descriptor = os.open(f"{path}.dist", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._table = f"{path}.dist"
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(netem.uniform_table())
        # tc looks for `<its own folder>/<word>.dist` and nowhere else, but it takes any word.
        return f"{UP_TO_ROOT}{path[1:]}"

    def _set_timer(self) -> None:
        if self._due:
            self._timer.set(self._due[0])

    def _go_on(self) -> dict[str, Any]:
        phase, began_ns = self._phase + 1, time.time_ns()
        table = f"{UP_TO_ROOT}{self._table[1:-5]}" if self._table else ""
        try:
            if lines := lanes.change(self.name, self._lanes, phase, table):
                command.batch("tc", lines)
            self._phase = phase
            self._remember()
        except OSError as trouble:
            self._wrong = f"phase {phase} could not be put up: {trouble.strerror}"
            return problem(f"link {self.name}: {self._wrong}")
        return {"event": "wire", "time_ns": time.time_ns(), "began_ns": began_ns, "phase": phase}

    def _remember(self) -> None:
        """Keep what is there now as what is to stay; it must be as asked. Raises OSError."""
        shown = self._show()
        held = _by_handle(shown)
        wrong = [says for lane in self._lanes for says in self._lane_differs(lane, held.get(lane.handle))]
        if wrong:
            raise NotAsAsked(f"tc took the settings of {self.name}, but shows others: {'; '.join(wrong)}")
        self._left = without_counters(shown)

    def _show(self) -> list[dict[str, Any]]:
        return command.show("tc", "-s", "-j", "qdisc", "show", "dev", self.name)

    def _show_filters(self) -> str:
        return command.run(["tc", "filter", "show", "dev", self.name])  # its JSON breaks at a table's offset (6.1)

    def _differs(self, shown: list[dict[str, Any]]) -> str:
        now = without_counters(shown)
        look = f"see `tc qdisc show dev {self.name}`"
        if now != self._left:
            held = _by_handle(now)
            wrong = [says for lane in self._lanes for says in self._lane_differs(lane, held.get(lane.handle))]
            what = "; ".join(wrong) or f"{_names(now)} in place of {_names(self._left)}"
            return f"the qdiscs of {self.name} are not as they were left: {what}; {look}"
        if self._show_filters() != self._filters:
            return f"the filters of {self.name} are not as they were left; see `tc filter show dev {self.name}`"
        return ""

    def _lane_differs(self, lane: lanes.Lane, found: Mapping[str, Any] | None) -> list[str]:
        who = ", ".join(f"{way.source}{'' if way.port is None else f' port {way.port}'}" for way in lane.ways)
        if found is None or found.get("parent") != lane.classid:
            return [f"netem {lane.handle} for packets from {who} is gone"]
        asked = lane.phases[self._phase]
        had = netem.read_back(found["options"], asked)
        return [] if had == asked else [f"packets from {who} have {_words(had)}, not {_words(asked)}"]

    def _settings(self, shown: Mapping[Any, Mapping[str, Any]]) -> list[dict[str, Any]]:
        """What each way that this phase names has now; those of which nothing is asked have no lane."""
        handles = {(way.source, way.port): lane.handle for lane in self._lanes for way in lane.ways}
        found = []
        for way in self._ways:
            asked, handle = way.asked[self._phase], handles.get((way.source, way.port))
            if asked is not None:
                held = shown.get(handle)
                had = to_message(netem.read_back(held["options"], asked)) if held else {}
                found.append({"from": way.source, "port": way.port, **had})
        return found

    def _dropped(self, held: Mapping[Any, Mapping[str, Any]]) -> dict[str, Any]:
        """How many, and by what as far as it can be told: netem counts chance and a full queue as one."""
        by = {"loss": 0, "blackhole": 0, "queue": 0}
        for lane in self._lanes:
            by[_reason(lane)] += held.get(lane.handle, {}).get("drops", 0)
        return {"dropped": sum(by.values()), "dropped_by": by}


def _by_handle(shown: list[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    return {found.get("handle"): found for found in shown if found["kind"] == "netem"}


def _names(shown: list[dict[str, Any]]) -> str:
    return ", ".join(f"{found['kind']} {found.get('handle', '')}".strip() for found in shown) or "none"


def _reason(lane: lanes.Lane) -> str:
    if any(one.blackhole for one in lane.phases):
        return "blackhole"
    chance = ("loss_percent", "gilbert_elliott_percent", "loss_states_percent")
    return "loss" if any(getattr(one, name) for one in lane.phases for name in chance) else "queue"


def _words(impairment: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in to_message(impairment).items()) or "no impairment"
