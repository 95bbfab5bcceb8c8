"""Bad scenario files: the exact text that each gets, kept in tests/errors/NAME.yaml and NAME.txt.

TESTBED_REWRITE=1 writes the texts anew; read the difference before you believe it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from testbed.errors import UsageError
from testbed.scenario.mistakes import MOST, Mistake, nearest, show_path
from testbed.scenario.read import ScenarioErrors, read_scenario

CASES = Path(__file__).parents[1] / "errors"
FILES = sorted(CASES.glob("*.yaml"))
# pydantic's and Python's own words, which nobody who writes a scenario should have to read
MACHINE_WORDS = (
    "Input should",
    "Value error",
    "function-",
    "literal[",
    "Extra inputs",
    "validation",
    "valid ",
    "None",
    "dict",
)


def errors_of(data: bytes, file: str = "x.yaml") -> ScenarioErrors:
    """The errors of a file that must have some."""
    with pytest.raises(ScenarioErrors) as caught:
        read_scenario(data, file)
    return caught.value


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_text(path: Path) -> None:
    """A bad file gets exactly the text that is kept beside it."""
    text = str(errors_of(path.read_bytes(), path.name)) + "\n"
    golden = path.with_suffix(".txt")
    if os.environ.get("TESTBED_REWRITE"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_every_text_has_its_file() -> None:
    """No golden text is left over from a case that is gone."""
    assert {path.stem for path in CASES.glob("*.txt")} == {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_plain_words(path: Path) -> None:
    """No mistake speaks pydantic, and each says its place once."""
    found = errors_of(path.read_bytes(), path.name).mistakes
    assert not [mistake for mistake in found if any(word in mistake.says for word in MACHINE_WORDS)]
    assert len({(mistake.line, mistake.column, mistake.path) for mistake in found}) == len(found)
    assert list(found) == sorted(found, key=lambda mistake: (mistake.line, mistake.column, mistake.path))


def test_five_mistakes() -> None:
    """All of a person's mistakes come at once: five in the file, five in the answer, each at its line and column."""
    found = errors_of((CASES / "five-mistakes.yaml").read_bytes()).mistakes
    places = [(mistake.line, mistake.column, mistake.path) for mistake in found]
    assert places == [
        (2, 1, "sumary"),
        (5, 29, "hosts.server.steps[1]"),
        (7, 23, "hosts.client.steps[0].connect"),
        (8, 15, "wire.delay"),
        (10, 24, "expect.handshake.outcome"),
    ]
    assert [mistake.suggestion for mistake in found] == ["summary", "accept", "server", "", "complete"]


@pytest.mark.parametrize("data", [b"", b"# nothing\n", b"\n\n"])
def test_nothing_in_it(data: bytes) -> None:
    """A file with nothing but comments is told as empty, once."""
    (mistake,) = errors_of(data).mistakes
    assert "the file is empty" in mistake.says


def test_very_many_mistakes() -> None:
    """A file with a mistake on every line gets the first of them, and the count says that there are more."""
    text = "summary: x\nhosts:\n  a:\n    steps:\n" + "      - foo\n" * 1000
    error = errors_of(text.encode())
    assert len(error.mistakes) == MOST
    assert "more than 100 mistakes in x.yaml" in str(error)


def test_usage_error() -> None:
    """A wrong scenario is the user's to mend: exit code 2."""
    error = errors_of(b"")
    assert isinstance(error, UsageError)
    assert error.exit_code == 2


def test_terminal_is_safe() -> None:
    """What a bad file holds reaches the terminal without its control characters."""
    text = str(errors_of(b'summary: x\nhosts: {a: {steps: [{log: "a", "\\e[31m": 1}]}}\n"\\a": 1\nb\x1b[0m: 1\n'))
    assert not [character for character in text if ord(character) < 32 and character != "\n"]


def test_caret_stands_under_the_place() -> None:
    """The caret's column is the mistake's, also where the line is cut or holds wide characters and tabs."""
    narrow = str(Mistake("f", 1, 3, "a", "b", "", "xyz")).splitlines()
    assert narrow[1].index("z") == narrow[2].index("^")
    wide = str(Mistake("f", 1, 2, "a", "b", "", "日z")).splitlines()
    assert wide[2].index("^") == wide[1].index("z") + 1
    tabs = str(Mistake("f", 1, 3, "a", "b", "", "\t\tz")).splitlines()
    assert tabs[1].index("z") == tabs[2].index("^")
    cut = str(Mistake("f", 1, 501, "a", "b", "", "x" * 500 + "Z" + "x" * 500)).splitlines()
    assert cut[1].index("Z") == cut[2].index("^")
    assert len(cut[1]) < 130


def test_path_notation() -> None:
    """Keys are joined by dots, indexes stand in brackets, odd keys in quotes."""
    assert show_path(("hosts", "client", "steps", 1, "connect")) == "hosts.client.steps[1].connect"
    assert show_path(("wire", "client->server", "loss")) == "wire.client->server.loss"
    assert show_path(("sysctls", "net.ipv4.tcp_sack")) == 'sysctls["net.ipv4.tcp_sack"]'


def test_nearest() -> None:
    """A guess is made when a known word is near, whatever the case and the dashes; else none."""
    assert nearest("syn_ack", ["SYN", "SYN-ACK", "ACK"]) == "SYN-ACK"
    assert nearest("frobnicate", ["listen", "accept"]) == ""
    assert nearest(7, ["7"]) == ""
