"""The command line: what each command takes, and what it prints where.

Results go to standard output, progress and errors to standard error. Exit codes: 0 passed, 1 a check failed, 2 usage or
a wrong scenario, 3 unknown or the lab could not do its job, 130 interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import testbed
from testbed.errors import TestbedError, UsageError

if TYPE_CHECKING:
    from testbed.suite import Result
    from testbed.verdict.value import Judgement

app = typer.Typer(
    help="Bring up hosts, play a TCP scenario between them, and judge what the wire saw.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RunFolder = Annotated[Path, typer.Argument(metavar="RUN_FOLDER", help="Such as results/latest/hola.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


@contextmanager
def reported() -> Iterator[None]:
    """Errors of ours end the command with their words and their exit code, never with a traceback."""
    from testbed.terminal import print_error

    try:
        yield
    except TestbedError as error:
        print_error(error)
        raise typer.Exit(error.exit_code) from error


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"testbed {testbed.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Bring up hosts, play a TCP scenario between them, and judge what the wire saw."""


@app.command()
def run(
    scenarios: Annotated[list[str] | None, typer.Argument(metavar="SCENARIO...", help="Names, or paths.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every scenario.")] = False,
    tag: Annotated[str | None, typer.Option(help="Every scenario with this tag.")] = None,
    backend: Annotated[str, typer.Option(help="auto (compose where an engine answers), compose or netns.")] = "auto",
    engine: Annotated[str, typer.Option(help="What impairs the wire: auto or portable.")] = "auto",
    out: Annotated[Path, typer.Option(help="Where run folders go.")] = Path("results"),
    jobs: Annotated[int, typer.Option(min=1, max=64, help="So many scenarios at a time.")] = 1,
    repeat: Annotated[int, typer.Option(min=1, max=10_000, help="Each scenario so many times.")] = 1,
    seed: Annotated[int | None, typer.Option(min=0, help="Of everything random.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change a value.")] = None,
    family: Annotated[str | None, typer.Option(help="ipv4 or ipv6.")] = None,
    timeout: Annotated[float | None, typer.Option(metavar="S", min=0.1, help="Time limit of the play.")] = None,
    keep: Annotated[bool, typer.Option(help="Leave the lab up.")] = False,
    fresh: Annotated[bool, typer.Option(help="A new lab for every run; else runs of one shape may share one.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run scenarios and judge them."""
    with reported():
        from testbed.session import Options, new_run_id
        from testbed.suite import choose_jobs, run_jobs
        from testbed.terminal import Progress

        _check_choice("--engine", engine, ("auto", "portable"))
        _check_choice("--family", family, (None, "ipv4", "ipv6"))
        options = Options(backend, engine, out, seed, family, timeout, keep, fresh, _settings(settings or []))
        chosen = choose_jobs(scenarios or [], everything, tag, repeat)
        progress = Progress(quiet=as_json and not sys.stderr.isatty(), many=len(chosen) > 1)
        results: list[Result] = []

        def finished(result: Result) -> None:
            progress.clear()
            results.append(result)
            _print_result(result, as_json, alone=len(chosen) == 1, done=len(results), total=len(chosen))

        code = run_jobs(
            chosen, options, new_run_id(), jobs, lambda job, words: progress(job.folder_name, words), finished
        )
        progress.clear()
        if len(chosen) > 1:
            _print_summary(results, as_json, len(chosen))
    raise typer.Exit(code)


def _check_choice(option: str, value: str | None, allowed: tuple[str | None, ...]) -> None:
    if value not in allowed:
        words = ", ".join(filter(None, allowed))
        raise UsageError(
            f"{option} {value} is not one of: {words}",
            remedy="netem is not built into this version yet" if value == "netem" else "",
        )


def _settings(texts: list[str]) -> tuple[tuple[str, str], ...]:
    for text in texts:
        if "=" not in text:
            raise UsageError(
                f"--set {text} has no value", remedy="write --set path=value, such as --set wire.delay=20ms"
            )
    return tuple((text.partition("=")[0], text.partition("=")[2]) for text in texts)


def _print_result(result: Result, as_json: bool, *, alone: bool, done: int, total: int) -> None:
    from testbed.terminal import print_error, print_lines, unicode_output, width

    if result.error is not None:
        print_error(result.error) if alone else sys.stderr.write(f"{result.job.folder_name}: {result.error}\n")
        return
    assert result.done is not None
    if as_json and alone:
        sys.stdout.write((result.done.folder / "result.json").read_text())
    elif alone:
        from testbed.report.text import render_text

        folder = str(result.done.folder)
        print_lines(render_text(result.done.judgement, width=width(), unicode=unicode_output(), folder=folder))
    elif not as_json:
        print_lines([_one_line(result, done, total)])


def _one_line(result: Result, done: int, total: int) -> tuple[tuple[str, str], ...]:
    assert result.done is not None
    judgement = result.done.judgement
    reasons = [check for check in judgement.checks if check.verdict != "passed"]
    why = f": {reasons[0].name}: {reasons[0].why}" if reasons else ""
    return (
        (f"[{done}/{total}] ", "dim"),
        (f"{judgement.verdict.value:8}", judgement.verdict.value),
        (f" {result.job.folder_name}{why}", ""),
    )


def _print_summary(results: list[Result], as_json: bool, total: int) -> None:
    from testbed.terminal import print_lines

    verdicts = [r.done.judgement.verdict.value if r.done else "unknown" for r in results]
    counts = {verdict: verdicts.count(verdict) for verdict in ("passed", "failed", "unknown")}
    if as_json:
        entries = [
            json.loads((r.done.folder / "result.json").read_text())
            if r.done
            else {"scenario": r.job.name, "error": str(r.error)}
            for r in results
        ]
        sys.stdout.write(json.dumps({"schema": 1, **counts, "total": total, "results": entries}, indent=1) + "\n")
        return
    words = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    missing = f", {total - len(results)} not run" if len(results) < total else ""
    print_lines([((words + missing, "bold"),)])


@app.command("list")
def list_scenarios(as_json: AsJson = False) -> None:
    """List the scenarios."""
    with reported():
        from testbed.files import load_scenario, scenario_files

        loaded = [(path, load_scenario(path).scenario) for path in scenario_files()]
        if as_json:
            entries = [{"name": p.stem, "file": str(p), "tags": list(s.tags), "summary": s.summary} for p, s in loaded]
            typer.echo(json.dumps(entries, indent=1))
            return
        wide = max((len(path.stem) for path, _ in loaded), default=0)
        for path, scenario in loaded:
            typer.echo(f"{path.stem:{wide}}  {','.join(scenario.tags):10}  {scenario.summary}")


@app.command()
def show(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO")],
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    family: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Show a scenario resolved, with every command that a run would execute."""
    with reported():
        from testbed.files import find_scenario, load_scenario
        from testbed.plan import make_plan
        from testbed.scenario.write import write_scenario
        from testbed.session import Options, resolve
        from testbed.show import commands

        path = find_scenario(scenario)
        resolved = resolve(load_scenario(path), Options(seed=seed, family=family))
        typer.echo(f"# {path}, resolved\n{write_scenario(resolved)}")
        typer.echo("\n".join(commands(make_plan(path.stem, resolved))))


@app.command()
def validate(files: Annotated[list[Path], typer.Argument(metavar="FILE...")]) -> None:
    """Check scenario files; every mistake is shown with its place."""
    from testbed.files import load_scenario
    from testbed.terminal import print_error

    code = 0
    for file in files:
        try:
            load_scenario(file)
        except TestbedError as error:
            code = error.exit_code
            print_error(error) if not hasattr(error, "mistakes") else sys.stderr.write(f"{error}\n")
        else:
            typer.echo(f"{file}: ok")
    raise typer.Exit(code)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a scenario file."""
    from testbed.scenario.schema import schema_text

    typer.echo(schema_text(), nl=False)


@app.command()
def analyze(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A pcap or pcapng file; - reads standard input.")],
    as_json: AsJson = False,
) -> None:
    """Say of every TCP connection in a capture how it opened and how it closed."""
    with reported():
        from testbed.analyze import analysis_json, analyze_capture
        from testbed.files import read_file
        from testbed.report.analysis import render_connections
        from testbed.terminal import print_lines, width

        data = sys.stdin.buffer.read() if str(file) == "-" else read_file(file, "capture")
        analysis = analyze_capture(data, str(file))
        if as_json:
            sys.stdout.write(analysis_json(analysis))
        else:
            print_lines(render_connections(analysis.connections, width=width()))
            for warning in analysis.warnings:
                sys.stderr.write(f"{file}: {warning}\n")


@app.command()
def check(folder: RunFolder, as_json: AsJson = False) -> None:
    """Make a run's verdict again from its evidence; needs no engine."""
    with reported():
        from testbed.session import check_folder
        from testbed.suite import EXIT_CODES

        judgement = check_folder(folder)
        _print_judgement(judgement, folder, as_json)
        code = EXIT_CODES[judgement.verdict]
    raise typer.Exit(code)


def _print_judgement(judgement: Judgement, folder: Path, as_json: bool) -> None:
    from testbed.report.text import render_text
    from testbed.result import result_json
    from testbed.terminal import print_lines, unicode_output, width

    if as_json:
        sys.stdout.write(result_json(judgement))
        return
    print_lines(render_text(judgement, width=width(), unicode=unicode_output(), folder=str(folder)))


@app.command()
def report(folder: RunFolder) -> None:
    """Make a run's report, trace and ladder again."""
    with reported():
        from testbed.files import save_outputs
        from testbed.outputs import drawings
        from testbed.session import check_folder

        save_outputs(folder, drawings(check_folder(folder)))
        typer.echo(f"{folder / 'report.html'}")


@app.command()
def images() -> None:
    """Build the image that hosts run in, where it is missing."""
    with reported():
        from testbed.lab.engine import connect
        from testbed.lab.images import ensure_image

        typer.echo(ensure_image(connect(), lambda words: typer.echo(words, err=True)))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what this machine can do, and for what is missing what to do."""
    from testbed.lab.doctor import examine

    findings = examine()
    if as_json:
        typer.echo(json.dumps([finding.plain() for finding in findings], indent=1))
    else:
        for finding in findings:
            typer.echo(f"{'ok ' if finding.ok else 'no '} {finding.name:12} {finding.says}")
            if not finding.ok and finding.remedy:
                typer.echo(f"    {'':12} {finding.remedy}")
    raise typer.Exit(0 if all(finding.ok or not finding.needed for finding in findings) else 3)


@app.command()
def clean() -> None:
    """Remove what killed runs left: containers and networks whose owner has ended, and nothing else."""
    with reported():
        from testbed.lab.compose import remove_dead_labs
        from testbed.lab.engine import connect, is_absent

        if is_absent():
            typer.echo("there is no Docker engine on this machine, and network namespaces end with their runs")
            return
        removed = remove_dead_labs(connect(), typer.echo)
        typer.echo(f"removed {removed} containers and networks of dead runs")


@app.command()
def new(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Write a first scenario of your own."""
    with reported():
        from testbed.files import new_scenario

        typer.echo(f"{new_scenario(name)}: edit it, then `testbed run {name}`")
