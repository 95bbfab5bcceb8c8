"""The command of the netem lane: boot the machine, run rows (or one command) inside, bring out what came of them.

Arguments that it does not know (such as -k delay) go to pytest, and the rows of pytest alone are run then.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from testbed.errors import TestbedError

from .disk import Built, ensure_disk
from .freight import pack, room, unpack
from .machine import Boot, Disk, boot, require_qemu
from .rows import ROWS, Ended, Row, all_passed, choose, judge, summary_line

CHECKOUT = Path(__file__).parents[2]
AROUND_S = 240.0  # booting, starting Docker, packing, powering off
SHELL_LIMIT_S = 600.0


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 0 when something ran and nothing failed."""
    options = _parse(sys.argv[1:] if words is None else words)
    if options.list:
        for row in ROWS:
            print(f"{row.name:10} {' '.join(row.command)}  (at most {row.limit_s:g} s)")
        return 0
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that what was started is ended
    try:
        require_qemu()
        built = ensure_disk(CHECKOUT, _say, _show)
        if options.build:
            return 0
        folder = _results_folder(options.out)
        if options.shell:
            return _shell(
                built, Row("shell", ("bash", "-c", options.shell), options.limit, docker=options.docker), folder
            )
        return _lane(built, choose(ROWS, options.row, options.pytest), folder)
    except TestbedError as error:
        print(f"vm: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.vm", description=__doc__, allow_abbrev=False)
    parser.add_argument("--shell", metavar="COMMAND", help="run one command inside, in the checkout, and show it")
    parser.add_argument("--docker", action="store_true", help="with --shell: start the Docker engine inside first")
    parser.add_argument("--limit", type=float, default=SHELL_LIMIT_S, metavar="S", help="with --shell: its time limit")
    parser.add_argument("--row", action="append", default=[], choices=[row.name for row in ROWS], help="only this row")
    parser.add_argument("--list", action="store_true", help="list the rows")
    parser.add_argument("--build", action="store_true", help="make the disk where it is missing, and end")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "results" / "vm", help="where results go")
    options, rest = parser.parse_known_args(words)
    options.pytest = rest
    return options


def _say(text: str) -> None:
    print(f"vm: {text}", flush=True)


def _show(piece: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(piece)  # a piece may end within a character
    sys.stdout.buffer.flush()


def _results_folder(out: Path) -> Path:
    folder = out / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}"
    folder.mkdir(parents=True)
    latest = out / f".latest-{os.getpid()}"
    latest.symlink_to(folder.name)
    latest.replace(out / "latest")
    return folder


def _run(built: Built, rows: Sequence[Row], folder: Path) -> tuple[Boot, dict[str, Ended]]:
    """Boot with a job; the console and all that came out are in the results folder then."""
    with tempfile.TemporaryDirectory(prefix="testbed-vm-") as name, (folder / "console.txt").open("wb") as console:
        goods, results = Path(name) / "goods", Path(name) / "results"
        pack(CHECKOUT, rows, goods)
        room(results)

        def show(piece: bytes) -> None:
            console.write(piece)
            _show(piece)

        disks = [Disk(built.disk), Disk(goods), Disk(results, kept=True)]
        limit_s = AROUND_S + sum(row.limit_s for row in rows)
        went = boot(built.kernel, disks, limit_s, show, built.kvm_hangs)
        if not went.powered_off:
            _say(f"the machine was ended at its limit of {limit_s:g} s")
        return went, unpack(results, folder)


def _shell(built: Built, row: Row, folder: Path) -> int:
    """Run one command; its exit code is ours."""
    _, ended = _run(built, [row], folder)
    code = ended[row.name].exit_code if row.name in ended else None
    return 3 if code is None else code


def _lane(built: Built, rows: Sequence[Row], folder: Path) -> int:
    """Run the rows whose files are there, and print what came of each."""
    missing = {row.name: [name for name in row.needs if not (CHECKOUT / name).is_file()] for row in rows}
    runnable = [row for row in rows if not missing[row.name]]
    went, ended = _run(built, runnable, folder) if runnable else (None, {})
    outcomes = [judge(row, ended.get(row.name), missing[row.name]) for row in rows]
    for outcome in outcomes:
        _say(summary_line(outcome, ended.get(outcome.row.name)))
    passed = all_passed(outcomes)
    about = f"{went.seconds:.0f} s on {went.accelerator}" if went else "nothing ran"
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    _say(f"{'passed' if passed else 'FAILED'}: {about}; outputs are in {shown}/")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
