"""The command that plays a run again."""

from __future__ import annotations

from testbed.errors import UsageError
from testbed.files import find_scenario
from testbed.report.cases import command
from testbed.session import Job, Options


def again(job: Job, options: Options) -> str:
    """The command that plays a run again: same scenario, seed, family, backend and all that was changed."""
    words = ["testbed", "run", _target(job)]
    told = {
        "--seed": options.seed,
        "--family": options.family,
        "--backend": None if options.backend == "auto" else options.backend,
        "--engine": None if options.engine == "auto" else options.engine,
        "--timeout": options.timeout_s,
    }
    for option, value in told.items():
        words += [] if value is None else [option, str(value)]
    for word in options.place:
        words += ["--place", word]
    for path, text in options.settings:
        words += ["--set", f"{path}={text}"]
    return command(words)


def _target(job: Job) -> str:
    try:
        return job.name if find_scenario(job.name) == job.path else str(job.path)
    except UsageError:
        return str(job.path)
