"""The netem lane's pure parts: the hash of its disk, its table of rows, and what it makes of their output."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the lane is a package of its own beside these folders

from vm.freight import job
from vm.machine import Disk, qemu_command
from vm.recipe import key, requirements
from vm.rows import ROWS, Ended, Outcome, Row, all_passed, choose, judge, suite

PLAIN = Row("plain", ("true",), 10, shows="engine netem", never="skipped")


def test_a_disk_is_made_anew_when_anything_in_it_changes() -> None:
    """The key depends on every name and every content, and on nothing else."""
    parts = {"a": b"1", "b": b"2"}
    others = ({"a": b"1"}, {"a": b"1", "b": b"3"}, {"a": b"1", "c": b"2"}, {"a": b"1b", "": b"2"})
    assert key(dict(reversed(parts.items()))) == key(parts)
    assert len({key(parts), *map(key, others)}) == 5


def test_the_environment_inside_has_what_the_tests_ask_for() -> None:
    """Dependencies and the extra `test`; not the tools of `dev`."""
    text = '[project]\ndependencies = ["a>=1"]\n[project.optional-dependencies]\ntest = ["b"]\ndev = ["c"]\n'
    assert requirements(text) == ["a>=1", "b"]


@pytest.mark.parametrize(
    ("ended", "verdict", "why"),
    [
        (Ended(0, 1.0, "engine netem\nall well\n"), "passed", ""),
        (Ended(1, 1.0, "engine netem\n"), "failed", "exit code 1"),
        (Ended(0, 1.0, "engine portable\n"), "failed", "its output does not show 'engine netem'"),
        (Ended(0, 1.0, "engine netem\n3 skipped\n"), "failed", "its output shows 'skipped'"),
        (Ended(None, 10.0, "engine netem\n"), "failed", "it was ended at its limit of 10 s"),
        (None, "failed", "the machine ended before this row did"),
    ],
)
def test_a_row_passes_only_with_its_exit_code_and_its_output(ended: Ended | None, verdict: str, why: str) -> None:
    """Each way of not having done the job is a failure with its reason."""
    outcome = judge(PLAIN, ended)
    assert (outcome.verdict, outcome.why) == (verdict, why)


def test_a_row_whose_file_is_not_there_fails() -> None:
    """Even when a command of that name ended well."""
    outcome = judge(PLAIN, Ended(0, 1.0, "engine netem"), ["tests/lab/test_gone.py"])
    assert (outcome.verdict, outcome.why) == ("failed", "tests/lab/test_gone.py: no such file in this checkout")


def test_the_closing_line_of_pytest_is_shown_without_rulers() -> None:
    """And trailing blank lines do not hide it; of another command, the line that shows what it must."""
    assert judge(PLAIN, Ended(0, 1.0, "engine netem yes\nversion 2\n")).closing == "engine netem yes"
    outcome = judge(suite("x", "tests/x.py", limit_s=1), Ended(0, 2.0, "...\n==== 3 passed in 2.00s ====\n\n"))
    assert (outcome.verdict, outcome.closing) == ("passed", "3 passed in 2.00s")


def test_a_lane_that_ran_nothing_does_not_pass() -> None:
    """No row, or rows of pytest that selected no test, are no success; one failure is a failure of all."""
    pytest_row = suite("x", "tests/x.py", limit_s=1)
    nothing = judge(pytest_row, Ended(5, 1.0, "== 4 deselected in 1s ==\n"))
    passed = judge(pytest_row, Ended(0, 1.0, "== 4 passed in 1s ==\n"))
    failed = judge(pytest_row, Ended(1, 1.0, "== 4 failed in 1s ==\n"))
    assert nothing.verdict == "nothing"
    lanes: tuple[list[Outcome], ...] = ([], [nothing], [nothing, passed], [passed, failed])
    assert [all_passed(lane) for lane in lanes] == [False, False, True, False]


def test_arguments_reach_the_rows_of_pytest_alone() -> None:
    """With arguments only those rows run; a row can be named; without either, all run as they stand."""
    chosen = choose((PLAIN, suite("x", "tests/x.py", limit_s=1)), [], ["-k", "delay"])
    assert [(row.name, row.command[-2:]) for row in chosen] == [("x", ("-k", "delay"))]
    (both,) = choose([suite("x", "tests/x.py", "-k", "netem", limit_s=1)], [], ["-x", "-k", "delay or loss"])
    assert both.command.count("-k") == 1
    assert both.command[both.command.index("-k") + 1] == "(netem) and (delay or loss)"
    assert both.command[-1] == "-x"
    assert [row.name for row in choose(ROWS, ["redirect"], [])] == ["redirect"]
    assert choose(ROWS, [], []) == ROWS


def test_rows_have_names_of_their_own_and_files_that_can_be_looked_for() -> None:
    """A name is a file name in the results; the files a row runs are found in its command."""
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert suite("x", "tests/lab/test_netem.py", "-k", "a", limit_s=1).needs == ("tests/lab/test_netem.py",)


def test_inside_netem_may_not_be_skipped() -> None:
    """The job says so to every row."""
    assert b'"TESTBED_REQUIRE_NETEM": "1"' in job(ROWS)


def test_the_machine_has_no_network_and_keeps_only_what_it_may() -> None:
    """No network device; writes to a disk are thrown away unless it is there to be written to."""
    words = qemu_command("tcg", Path("k"), [Disk(Path("root")), Disk(Path("out"), kept=True)])
    assert words[words.index("-nic") + 1] == "none"
    assert [word for word in words if "file=" in word] == [
        "if=none,id=disk1,file=root,format=raw,snapshot=on,cache=unsafe",
        "if=none,id=disk2,file=out,format=raw,snapshot=off,cache=unsafe",
    ]
