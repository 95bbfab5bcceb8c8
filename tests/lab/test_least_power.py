"""What a program can do while it plays: nothing that its steps do not need."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from agent_driver import Agent, Message, step
from meddling import children

from testbed.agent.power import NET_ADMIN, NET_BIND_SERVICE, NET_RAW

pytestmark = [pytest.mark.lab, pytest.mark.skipif(not shutil.which("unshare"), reason="unshare(1) is not here")]
OPTION = step("sockopt", options={"TCP_NODELAY": 1})


def powers_of_player(*steps: Message) -> dict[str, Any]:
    """What the kernel says of a process that plays, in the middle of its steps."""
    with Agent() as agent:
        agent.play(*steps, step("mark", name="here"), step("wait", name="never"))
        agent.until("mark", name="here")
        (pid,) = children(agent.process.pid)
        status = Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)


@pytest.mark.parametrize(
    ("steps", "most"),
    [
        ([step("listen", port=80)], NET_BIND_SERVICE),
        ([step("socket", type="tcp"), OPTION], NET_BIND_SERVICE | NET_ADMIN | NET_RAW),
        ([step("repeat", times=1, steps=[step("socket", type="tcp"), OPTION])], NET_BIND_SERVICE | NET_ADMIN | NET_RAW),
    ],
    ids=["sockets", "options", "options inside"],
)
def test_a_program_gives_up_what_it_does_not_need(steps: list[Message], most: int) -> None:
    """The kernel shows no other capability of it, permitted or effective, and that it can get no new ones."""
    status = powers_of_player(*steps)
    for name in ("CapEff", "CapPrm"):
        assert int(status[name], 16) & ~most == 0, status[name]
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["NoNewPrivs"] == "1"
