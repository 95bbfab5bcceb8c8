"""Writes docs/scenarios.md: `python -m testbed.docs [RUNS]`, where RUNS is a folder of run folders (`results/latest`).

What is said of a scenario comes from its file; its ladder and states from its run folder in RUNS, and where there is
none, as they stand on the page already. `make docs` plays all scenarios first.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from testbed.errors import TestbedError
from testbed.files import load_scenario, scenario_files, write_whole
from testbed.report.catalogue import NO_RUN, Entry, comment_of, page, recorded, run_part
from testbed.session import check_folder
from testbed.suites.choose import folder_stem

PAGE = Path("docs/scenarios.md")


def entries(folder: Path | None = None) -> tuple[Entry, ...]:
    """Every scenario of the catalogue. Raises what is wrong with a file."""
    return tuple(_entry(path) for path in scenario_files(folder))


def _entry(path: Path) -> Entry:
    located = load_scenario(path)
    link = f"../scenarios/{path.parent.name}/{path.name}"
    return Entry(path.parent.name, path.stem, link, comment_of(located.text), located.scenario)


def make_page(before: str, runs: Path | None, folder: Path | None = None) -> str:
    """The page as it should be; `before` is the one that there is."""
    told = recorded(before)
    found = entries(folder)
    for entry in found:
        run = runs / folder_stem(Path(entry.path)) if runs is not None else None
        if run is not None and (run / "timeline.jsonl").is_file():
            told[entry.name] = run_part(check_folder(run))
    return page(found, told)


def main() -> int:
    """Write the page, and say which scenarios have no run on it."""
    parser = argparse.ArgumentParser(prog="python -m testbed.docs", description=__doc__)
    parser.add_argument("runs", nargs="?", type=Path, metavar="RUNS", help="Such as results/latest.")
    try:
        before = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
        made = make_page(before, parser.parse_args().runs)
    except TestbedError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    write_whole(PAGE, made.encode())
    missing = sorted(name for name, run in recorded(made).items() if run == NO_RUN)
    sys.stdout.write(
        f"{PAGE}: {len(recorded(made))} scenarios" + (f"; no run of {', '.join(missing)}" * bool(missing)) + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
