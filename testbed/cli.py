"""The command line: what each command takes, and what it prints where.

Results go to standard output, progress and errors to standard error. Exit codes: 0 passed, 1 a check failed, 2 usage or
a wrong scenario, 3 unknown or the lab could not do its job, 130 interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import testbed
from testbed.errors import TestbedError, UsageError

if TYPE_CHECKING:
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
Out = Annotated[Path, typer.Option(help="Where run folders go.")]
Jobs = Annotated[
    int | None, typer.Option(min=1, max=64, help="So many scenarios at a time; else as cores and memory allow.")
]
Engines = Annotated[str, typer.Option(metavar="A,B,...", help="Docker contexts or addresses of several engines.")]
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
    backend: Annotated[
        str, typer.Option(help="auto (compose where an engine answers), compose, netns or swarm.")
    ] = "auto",
    place: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST=ENGINE", help="On a swarm: the Docker context or address that a host runs on."),
    ] = None,
    lab: Annotated[Path | None, typer.Option(metavar="FILE", help="On a swarm: a file of engines and places.")] = None,
    engines: Engines = "",
    engine: Annotated[str, typer.Option(help="What impairs the wire: auto, netem or portable.")] = "auto",
    out: Out = Path("results"),
    jobs: Jobs = None,
    repeat: Annotated[
        int, typer.Option(min=1, max=10_000, help="Each scenario so many times, each time with the next seed.")
    ] = 1,
    shard: Annotated[str, typer.Option(metavar="K/N", help="Of N parts of all, the K-th; by names alone.")] = "",
    retries: Annotated[int, typer.Option(min=0, max=100, help="What did not pass is tried so often again.")] = 0,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Begin no more runs once one has not passed.")] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Of everything random.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change a value.")] = None,
    family: Annotated[str | None, typer.Option(help="ipv4 or ipv6.")] = None,
    timeout: Annotated[float | None, typer.Option(metavar="S", min=0.1, help="Time limit of the play.")] = None,
    keep: Annotated[bool, typer.Option(help="Leave the lab up.")] = False,
    fresh: Annotated[bool, typer.Option(help="A new lab for every run; else runs of one shape may share one.")] = False,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML.")] = None,
    tap: Annotated[Path | None, typer.Option(metavar="FILE", help="Write TAP.")] = None,
    summary: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a summary as JSON.")] = None,
    artifacts: Annotated[Path | None, typer.Option(metavar="DIR", help="Copy what did not pass there.")] = None,
    artifacts_mib: Annotated[int, typer.Option(min=1, help="Most that goes there, in MiB.")] = 100,
    github: Annotated[
        bool | None, typer.Option("--github/--no-github", help="Annotations and step summary; else as GITHUB_ACTIONS.")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Show what happens while it happens.")] = False,
    wireshark: Annotated[bool, typer.Option("--wireshark", help="Show the packets in Wireshark as they come.")] = False,
    pcap: Annotated[str, typer.Option(metavar="FILE", help="Write the packets as they come; - is stdout.")] = "",
    as_json: AsJson = False,
) -> None:
    """Run scenarios and judge them."""
    with reported():
        from testbed.lab.swarm.placement import placed_words
        from testbed.live.choose import Wanted, onlooker_of
        from testbed.session import Options
        from testbed.suites.choose import choose_turns
        from testbed.suites.engines import parse_engines
        from testbed.suites.outlets import Outlets
        from testbed.suites.play import Wish, play
        from testbed.suites.shard import parse_shard
        from testbed.suites.sweeping import spread

        _check_choice("--engine", engine, ("auto", "netem", "portable"))
        _check_choice("--family", family, (None, "ipv4", "ipv6"))
        spread_over = parse_engines(engines) if engines else ()
        placed = placed_words(lab, place or ())
        if spread_over and (placed or backend not in ("auto", "compose")):
            raise UsageError("--engines spreads whole runs (backend compose); --place and --lab the hosts of one")
        if placed and backend not in ("auto", "swarm"):
            raise UsageError(f"--place and --lab are of --backend swarm, and --backend {backend} has one machine")
        backend = "compose" if spread_over else "swarm" if placed else backend
        options = Options(backend, engine, out, seed, family, timeout, keep, fresh, _settings(settings or []))
        options = replace(options, place=placed)
        part = parse_shard(shard) if shard else None
        turns = choose_turns(scenarios or [], everything, tag, repeat, part)
        outlets = Outlets(junit, tap, summary, artifacts, artifacts_mib, github)
        swept = spread(turns, options)
        wish = Wish(jobs, retries, fail_fast, shard, as_json, spread_over, outlets)
        with onlooker_of(Wanted(live, wireshark, pcap, as_json), len(swept.turns)) as onlooker:
            code = play(swept.turns, replace(swept.options, onlooker=onlooker), wish, on_suite=swept.tell)
    raise typer.Exit(code)


@app.command()
def rerun(
    folder: RunFolder,
    out: Out = Path("results"),
    repeat: Annotated[int, typer.Option(min=1, max=10_000, help="So many times, always with the same seed.")] = 1,
    jobs: Jobs = None,
    as_json: AsJson = False,
) -> None:
    """Play a run again: its scenario, seed, sysctls and backend; says what differs in the environment."""
    with reported():
        from testbed.suites.rerun import play_again

        code = play_again(folder, out, repeat, jobs, as_json)
    raise typer.Exit(code)


def _check_choice(option: str, value: str | None, allowed: tuple[str | None, ...]) -> None:
    if value not in allowed:
        words = ", ".join(filter(None, allowed))
        raise UsageError(f"{option} {value} is not one of: {words}")


def _settings(texts: list[str]) -> tuple[tuple[str, str], ...]:
    for text in texts:
        if "=" not in text:
            raise UsageError(
                f"--set {text} has no value", remedy="write --set path=value, such as --set wire.delay=20ms"
            )
    return tuple((text.partition("=")[0], text.partition("=")[2]) for text in texts)


@app.command("list")
def list_scenarios(as_json: AsJson = False) -> None:
    """List the scenarios."""
    with reported():
        from testbed.files import load_scenario, scenario_files
        from testbed.report.escape import clean

        loaded = [(path, load_scenario(path).scenario) for path in scenario_files()]
        if as_json:
            entries = [{"name": p.stem, "file": str(p), "tags": list(s.tags), "summary": s.summary} for p, s in loaded]
            typer.echo(json.dumps(entries, indent=1))
            return
        wide = max((len(path.stem) for path, _ in loaded), default=0)
        for path, scenario in loaded:
            typer.echo(clean(f"{path.stem:{wide}}  {','.join(scenario.tags):10}  {scenario.summary}"))


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
        from testbed.report.escape import clean
        from testbed.scenario.write import write_scenario
        from testbed.session import Options, resolve
        from testbed.show import commands
        from testbed.terminal import clean_lines

        path = find_scenario(scenario)
        resolved = resolve(load_scenario(path), Options(seed=seed, family=family))
        typer.echo(clean_lines(f"# {clean(str(path))}, resolved\n{write_scenario(resolved)}"))
        typer.echo(clean_lines("\n".join(commands(make_plan(path.stem, resolved)))))


@app.command()
def validate(files: Annotated[list[Path], typer.Argument(metavar="FILE...")]) -> None:
    """Check scenario files; every mistake is shown with its place."""
    from testbed.files import load_scenario
    from testbed.report.escape import clean
    from testbed.terminal import print_error

    code = 0
    for file in files:
        try:
            load_scenario(file)
        except TestbedError as error:
            code = error.exit_code
            print_error(error) if not hasattr(error, "mistakes") else sys.stderr.write(f"{error}\n")
        else:
            typer.echo(f"{clean(str(file))}: ok")
    raise typer.Exit(code)


@app.command()
def schema(lab: Annotated[bool, typer.Option("--lab", help="Of a lab file (docs/multi-machine.md).")] = False) -> None:
    """Print the JSON Schema of a scenario file."""
    from testbed.lab.swarm.lab_file import lab_schema_text
    from testbed.scenario.schema import schema_text

    typer.echo(lab_schema_text() if lab else schema_text(), nl=False)


@app.command()
def analyze(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A pcap or pcapng file; - reads standard input.")],
    chosen: Annotated[
        str,
        typer.Option(
            "--filter", metavar="EXPRESSION", help="host=, port=, state=, outcome=, closed=; a comma means and."
        ),
    ] = "",
    connection: Annotated[int | None, typer.Option(metavar="N", help="Draw the ladder of one connection.")] = None,
    expect: Annotated[str, typer.Option(metavar="SCENARIO", help="Judge the capture by what a scenario expects.")] = "",
    zeek: Annotated[bool, typer.Option(help="Cut connections where Zeek's timeouts would.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say of every TCP connection in a capture how it opened and how it closed."""
    with reported():
        from testbed.analyzing import Wish, analyze_file

        code = analyze_file(file, Wish(as_json, chosen, connection, zeek, expect))
    raise typer.Exit(code)


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
    from testbed.result import result_json
    from testbed.suites.printing import print_judgement

    if as_json:
        sys.stdout.write(result_json(judgement))
        return
    print_judgement(judgement, folder)


@app.command()
def report(
    folder: RunFolder,
    text: Annotated[bool, typer.Option("--text", help="Print ladder, checks and verdict; write nothing.")] = False,
) -> None:
    """Make a run's report, trace and ladder again."""
    with reported():
        from testbed.files import save_outputs
        from testbed.outputs import drawings
        from testbed.session import check_folder

        judgement = check_folder(folder)
        if text:
            _print_judgement(judgement, folder, as_json=False)
            return
        save_outputs(folder, drawings(judgement))
        typer.echo(f"{folder / 'report.html'}")


@app.command()
def images() -> None:
    """Build the image that hosts run in, where it is missing."""
    with reported():
        from testbed.lab.engine import connect
        from testbed.lab.images import ensure_image

        typer.echo(ensure_image(connect(), lambda words: typer.echo(words, err=True)))


@app.command()
def doctor(engines: Engines = "", as_json: AsJson = False) -> None:
    """Say what this machine can do, or several engines together, and for what is missing what to do."""
    from testbed.lab.doctor import examine

    with reported():
        if engines:
            from testbed.lab.swarm.doctor import examine_engines
            from testbed.suites.engines import parse_engines

        findings = examine_engines(parse_engines(engines)) if engines else examine()
    if as_json:
        typer.echo(json.dumps([finding.plain() for finding in findings], indent=1))
    else:
        for finding in findings:
            typer.echo(f"{'ok ' if finding.ok else 'no '} {finding.name:12} {finding.says}")
            if not finding.ok and finding.remedy:
                typer.echo(f"    {'':12} {finding.remedy}")
    raise typer.Exit(0 if all(finding.ok or not finding.needed for finding in findings) else 3)


@app.command()
def clean(engines: Engines = "") -> None:
    """Remove what killed runs left: containers and networks whose owner has ended, and nothing else."""
    with reported():
        if engines:
            from testbed.lab.swarm.removal import clean_engines
            from testbed.suites.engines import parse_engines

            clean_engines(parse_engines(engines), typer.echo)
            return
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
