"""Inside the machine: an ingress redirect to an ifb with netem delays what arrives, and by as much as asked.

The plainest form of what the netem engine does, without any of our code: when this fails, it is the kernel or tc.
"""

from __future__ import annotations

import re
import subprocess

DELAY_MS = 60.0
HERE, THERE = "198.18.0.1", "198.18.0.2"
LAB = (
    "ip netns add far",
    "ip link add near0 type veth peer name far0 netns far",
    f"ip addr add {HERE}/30 dev near0",
    "ip link set near0 up",
    f"ip -n far addr add {THERE}/30 dev far0",
    "ip -n far link set far0 up",
)
REDIRECT = (
    "ip link add name link0 type ifb",
    "ip link set link0 up",
    "tc qdisc add dev near0 clsact",
    "tc filter add dev near0 ingress protocol ip u32 match u32 0 0 action mirred egress redirect dev link0",
    f"tc qdisc add dev link0 root netem delay {DELAY_MS:g}ms",
)


def say(command: str) -> str:
    """Run a command; its output."""
    return subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout


def round_trip_ms() -> float:
    """The median of five pings, each waited for."""
    times = sorted(float(ms) for ms in re.findall(r"time=([\d.]+)", say(f"ping -n -c 5 -i 0.2 {THERE}")))
    assert len(times) == 5, f"{len(times)} of 5 pings were answered"
    return times[2]


def main() -> None:
    """Measure without and with the redirect, and compare."""
    for command in LAB:
        say(command)
    bare_ms = round_trip_ms()
    for command in REDIRECT:
        say(command)
    delayed_ms = round_trip_ms()
    print(say("tc -s qdisc show dev link0").strip())
    print(f"a ping over the redirect took {delayed_ms:g} ms, {bare_ms:g} ms without; asked {DELAY_MS:g} ms more")
    assert DELAY_MS <= delayed_ms < 2 * DELAY_MS + bare_ms, "netem did not delay as asked"


if __name__ == "__main__":
    main()
