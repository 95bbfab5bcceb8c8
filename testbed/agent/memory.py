"""Whether the kernel ends processes because memory is short: its out-of-memory killer, which uses SIGKILL.

proc(5), /proc/vmstat: `oom_kill` counts them on the whole machine, those too that a control group's limit ends. It is
shown in every container and namespace; which process it was is not told there.
"""

from __future__ import annotations

COUNT = "oom_kill "


def count_kills() -> int:
    """How many processes the out-of-memory killer has ended since the machine started; 0 where that is not told."""
    try:
        with open("/proc/vmstat", encoding="ascii") as file:  # noqa: PTH123 (pathlib is slow to load)
            return next((int(line[len(COUNT) :]) for line in file if line.startswith(COUNT)), 0)
    except OSError:
        return 0


def kills_since(before: int) -> str:
    """Words to put behind an end that nobody asked for; none where the out-of-memory killer did nothing meanwhile."""
    kills = count_kills() - before
    ended = f"{kills} process{'es' * (kills > 1)}"
    return f"; meanwhile the kernel's out-of-memory killer ended {ended} of this machine" if kills > 0 else ""
