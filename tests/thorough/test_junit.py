"""What CI systems are told of a suite: JUnit by its schema, TAP, annotations and summaries within their limits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from report_builder import hola, lost_synack
from suite_cases import case, every_sort, flaky, not_run, still_failing, unknown, wrong_file

from testbed.report.cases import Case, Reason, Suite, count_words, reasons_of
from testbed.report.github import MOST_ANNOTATIONS, SUMMARY_LIMIT, annotate, step_summary
from testbed.report.junit import class_name, junit_xml
from testbed.report.repeats import repeats_of, say_repeats
from testbed.report.suite_json import suite_json
from testbed.report.tap import tap_text
from testbed.verdict.value import Check, Outcome

XS = "{http://www.w3.org/2001/XMLSchema}"
SCHEMA = ElementTree.parse(Path(__file__).with_name("junit.xsd")).getroot()
TOP = {node.attrib["name"]: node for node in SCHEMA.findall(f"{XS}element")}
TYPES = {node.attrib["name"]: node for node in SCHEMA if node.tag != f"{XS}element"}
ESCAPES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]")


# --- JUnit, by a walk over the schema ---


def complaints(element: Element, declared: Element | None = None) -> Iterator[str]:
    """What the schema has against an element and all in it."""
    declared = TOP[element.tag] if declared is None else declared
    kind = TYPES.get(declared.get("type", ""), declared.find(f"{XS}complexType"))
    attributes = {} if kind is None else {each.attrib["name"]: each for each in kind.findall(f"{XS}attribute")}
    for name, value in element.attrib.items():
        if name not in attributes:
            yield f"<{element.tag}> may not have {name}"
        elif attributes[name].get("type") == "seconds" and not re.fullmatch(r"[0-9]+(\.[0-9]*)?", value):
            yield f"<{element.tag} {name}={value!r}> is no time"
    yield from (
        f"<{element.tag}> lacks {name}"
        for name, each in attributes.items()
        if each.get("use") == "required" and name not in element.attrib
    )
    inside = [] if kind is None else [*kind.iterfind(f"{XS}choice/*"), *kind.iterfind(f"{XS}sequence/*")]
    allowed = {each.get("ref") or each.attrib["name"]: each for each in inside}
    for child in element:
        if child.tag not in allowed:
            yield f"<{child.tag}> may not stand in <{element.tag}>"
        else:
            yield from complaints(child, allowed[child.tag] if "name" in allowed[child.tag].attrib else None)


def parsed(suite: Suite) -> Element:
    """The suite's JUnit file, read again."""
    return ElementTree.fromstring(junit_xml(suite).encode())


def test_junit_is_by_the_schema() -> None:
    """Every sort of case gives elements and attributes that strict readers know."""
    root = parsed(every_sort())
    assert root.tag == "testsuites"
    assert list(complaints(root)) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<testsuites/>", None),
        ("<testsuites><testcase name='x'/></testsuites>", "<testcase> may not stand in <testsuites>"),
        ("<testsuites><testsuite name='x' tests='1' failures='0'/></testsuites>", "<testsuite> lacks errors"),
        ("<testsuites time='1,5'/>", "<testsuites time='1,5'> is no time"),
        ("<testsuites colour='red'/>", "<testsuites> may not have colour"),
    ],
)
def test_the_walk_finds_what_is_wrong(text: str, says: str | None) -> None:
    """The judge of the test above is no rubber stamp."""
    assert list(complaints(ElementTree.fromstring(text))) == ([says] if says else [])


def test_junit_counts_and_names() -> None:
    """Counts are of what is there, and no two cases share a name: readers put them together else."""
    root = parsed(every_sort())
    cases = list(root.iter("testcase"))
    names = [(each.attrib["classname"], each.attrib["name"]) for each in cases]
    assert len(set(names)) == len(names) == int(root.attrib["tests"]) == 8
    assert sum(each.find("failure") is not None for each in cases) == int(root.attrib["failures"]) == 3
    assert sum(each.find("error") is not None for each in cases) == int(root.attrib["errors"]) == 2
    (suite,) = root.iter("testsuite")
    assert sum(each.find("skipped") is not None for each in cases) == int(suite.attrib["skipped"]) == 1


def element_of(told: Case) -> Element:
    """The element of one case."""
    return next(parsed(Suite((told,))).iter("testcase"))


def test_verdicts_in_junit() -> None:
    """Failed is a failure; unknown and a wrong file are errors; flaky passed, with what came before."""
    failed = element_of(case("lost", lost_synack())).find("failure")
    assert failed is not None
    assert "handshake.duration: expected ..500ms, seen 1054ms: the handshake took longer" in (failed.text or "")
    assert "scenarios/seeds/lost-synack.yaml:13" in (failed.text or "")
    assert "again: testbed run lost --seed 0" in (failed.text or "")
    assert element_of(unknown()).find("error") is not None
    broken = element_of(wrong_file()).find("error")
    assert broken is not None
    assert "hosts.a: unknown step  [scenarios/broken.yaml:5]" in (broken.text or "")
    shaky = element_of(flaky())
    assert [child.tag for child in shaky] == ["flakyFailure"]
    assert [child.tag for child in element_of(still_failing())] == ["failure", "rerunError", "system-out"]
    assert element_of(not_run())[0].attrib["message"] == "not run: --fail-fast, after lost"
    assert len(element_of(case("hola", hola()))) == 0


def test_one_cause_is_told_once() -> None:
    """What makes many checks unknown is one reason that names them; failed checks keep a reason each."""
    checks = tuple(
        Check(name, verdict, "1", "2", why)
        for name, verdict, why in (
            ("a", Outcome.UNKNOWN, "the capture has holes"),
            ("b", Outcome.FAILED, "too many"),
            ("c", Outcome.UNKNOWN, "the capture has holes"),
            ("d", Outcome.FAILED, "too many"),
            ("e", Outcome.UNKNOWN, ""),
            ("f", Outcome.UNKNOWN, ""),
        )
    )
    told = reasons_of(replace(lost_synack(), checks=checks))
    assert [reason.name for reason in told] == ["b", "d", "a", "e", "f"]
    assert told[2].says == "unknown: expected 1, seen 2: the capture has holes; and so c"


def test_the_ladder_is_in_junit() -> None:
    """What did not pass brings its ladder, and the sign that GitLab and Jenkins take for a file of that case."""
    output = element_of(case("lost", lost_synack())).findtext("system-out") or ""
    assert "S. seq 0 ack 1" in output
    assert "[[ATTACHMENT|results/run-1/lost/ladder.svg]]" in output
    elsewhere = element_of(case("lost", lost_synack(), folder="/tmp/x/lost")).findtext("system-out") or ""
    assert "ATTACHMENT" not in elsewhere


@given(st.text(st.characters(codec=None), max_size=60))
def test_any_text_is_xml(text: str) -> None:
    """Whatever a name or a reason holds, control characters and halves of surrogates too, every report can be read."""
    told = Case(text, text, text, Outcome.FAILED, (Reason(text, text, text, 3),), folder=text, again=text, ladder=text)
    suite = Suite((told, not_run(text)), text, "", 1.0, 1, text)
    assert list(complaints(ElementTree.fromstring(junit_xml(suite).encode("utf-8", "strict")))) == []
    assert len(tap_text(suite).encode().splitlines()) == 9
    assert all("\n" not in line and "\r" not in line for line in annotate(suite))
    assert not ESCAPES.search(step_summary(suite))
    assert json.loads(suite_json(suite))["cases"][0]["name"] == text


def test_class_names() -> None:
    """The folder groups; nothing of a path that leads up or from the root is in it."""
    assert class_name("scenarios/handshake/x.yaml") == "scenarios.handshake"
    assert class_name("../a/./b/x.yaml") == "a.b"
    assert class_name("/tmp/x.yaml") == "tmp"
    assert class_name("x.yaml") == "scenarios"


# --- TAP ---


def test_tap() -> None:
    """A line per case in TAP's two verdicts, the rest in a block of YAML."""
    lines = tap_text(every_sort()).splitlines()
    assert lines[:3] == ["TAP version 14", "1..8", "ok 1 - hola"]
    points = [line for line in lines if re.match(r"(not )?ok ", line)]
    assert [line.split(" - ")[0] for line in points] == [
        *("ok 1", "not ok 2", "not ok 3", "ok 4", "not ok 5", "not ok 6", "ok 7", "not ok 8")
    ]
    assert points[6] == "ok 7 - later # SKIP not run: --fail-fast, after lost"
    blocks = re.findall(r"^  ---\n(.*?)^  \.\.\.$", tap_text(every_sort()), re.MULTILINE | re.DOTALL)
    told = [yaml.safe_load(block) for block in blocks]
    assert [block["severity"] for block in told] == ["failed", "unknown", "flaky", "failed", "unknown", "failed"]
    assert told[0]["at"] == "scenarios/seeds/lost-synack.yaml:13"
    assert "Bail out!" not in tap_text(every_sort())
    assert tap_text(Suite((), interrupted=True)).splitlines()[-1] == "Bail out! interrupted"


# --- GitHub ---


def test_annotations_are_worst_first() -> None:
    """Failed before unknown before flaky, each at its line, one line each; flaky is a warning."""
    lines = annotate(every_sort())
    assert [re.match("::(error|warning) ", line)[1] for line in lines] == ["error"] * 5 + ["warning"]  # type: ignore[index]
    assert lines[0].startswith(
        "::error file=scenarios/seeds/lost-synack.yaml,line=13,title=lost failed::handshake.duration: "
    )
    assert "%0Aagain: testbed run lost" in lines[0]
    assert lines[-2].startswith("::error file=scenarios/broken.yaml,line=5,title=broken unknown::")
    assert annotate(Suite((case("hola", hola()),))) == []


def test_at_most_ten_annotations() -> None:
    """Of many there are ten, the last of which says how many more; ten are all shown."""
    cases = [case(f"lost-{number:02}", lost_synack()) for number in range(25)]
    assert len(annotate(Suite(tuple(cases[:10])))) == MOST_ANNOTATIONS
    lines = annotate(Suite(tuple(cases)))
    assert len(lines) == MOST_ANNOTATIONS
    assert lines[-1] == "::error title=testbed::and 16 more scenarios: 25 failed"
    assert all("file=" in line for line in lines[:-1])


def test_a_property_cannot_be_left() -> None:
    """Commas, colons and line breaks of a name end neither the property nor the command."""
    told = Case("a,b:c\nd::e", "x", "f,line=1::.yaml", Outcome.FAILED, (Reason("n", "50% \r\n::error::x"),))
    (line,) = annotate(Suite((told,)))
    head, _, _ = line.removeprefix("::error ").partition("::")
    assert head == "file=f%2Cline=1%3A%3A.yaml,title=a%2Cb%3Ac\\nd%3A%3Ae failed"
    assert "50%25" in line


def test_files_are_named_from_the_root() -> None:
    """Where the command runs in a folder of the repository, annotations still find their files."""
    lines = annotate(Suite((case("lost", lost_synack()),)), from_root=lambda file: f"sub/{file}")
    assert "file=sub/scenarios/seeds/lost-synack.yaml," in lines[0]


def test_step_summary() -> None:
    """Counts, reasons, ladders, and all that ran; what comes from outside stays text."""
    text = step_summary(every_sort(), repeats_of(every_sort().cases))
    assert text.startswith("## ❌ testbed: 2 passed (1 flaky), 3 failed, 2 unknown, 1 not run\n")
    assert "S. seq 0 ack 1" in text
    assert "<script>" not in re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert re.search(r"^\| ❌ failed \| lost \| ", text, re.MULTILINE)
    assert step_summary(Suite((case("hola", hola()),))).startswith("## ✅ testbed: 1 passed\n")


def test_step_summary_keeps_its_limit() -> None:
    """However much failed, it fits: what there is no room for is left out and said; reasons go before ladders."""
    one = case("lost", lost_synack())
    crowd = Suite(tuple(replace(one, name=f"lost-{number}") for number in range(2000)))
    text = step_summary(crowd)
    assert 200_000 < len(text.encode()) <= SUMMARY_LIMIT
    assert "did not fit" in text
    assert text.index("| ❌ failed |") < text.index("<details>")
    small = step_summary(crowd, limit=3000)
    assert len(small.encode()) <= 3000
    assert small.startswith("## ❌ testbed: 2000 failed")
    assert step_summary(crowd, limit=10) == ""


# --- JSON and statistics ---


def test_suite_json() -> None:
    """Versioned, with counts, and every case whole."""
    told = json.loads(suite_json(every_sort()))
    counts = {"passed": 2, "failed": 3, "unknown": 2, "flaky": 1, "not_run": 1, "total": 8}
    assert {key: told[key] for key in ("schema", *counts)} == {"schema": 1, **counts}
    assert sum(counts[verdict] for verdict in ("passed", "failed", "unknown", "not_run")) == counts["total"]
    lost = told["cases"][1]
    assert (lost["verdict"], lost["exit_code"], lost["reasons"][0]["line"]) == ("failed", 1, 13)
    assert lost["reasons"][0]["packets"]
    assert told["cases"][3]["earlier"][0]["verdict"] == "failed"
    assert (told["cases"][6]["verdict"], told["cases"][6]["not_run"]) == (None, "not run: --fail-fast, after lost")


def test_counts_in_words() -> None:
    """Worst is not hidden, and nothing is said of what there was none of."""
    assert count_words(every_sort().counts()) == "2 passed (1 flaky), 3 failed, 2 unknown, 1 not run"
    assert count_words(Suite(()).counts()) == "nothing was run"


def test_repeats() -> None:
    """Rate and Wilson's interval over first tries that came to a verdict, and the first seed that failed."""
    passed = [case(f"a-{number}", hola(), scenario="a", file="a", seed=number) for number in range(8)]
    failed = [
        case("x", lost_synack(), scenario="a", file="a", seed=12, again="testbed run a --seed 12"),
        case("y", lost_synack(), scenario="a", file="a", seed=9, again="testbed run a --seed 9"),
    ]
    unclear = unknown()
    blind = [case("z", lost_synack(), scenario="a", file="a", verdict=unclear.verdict, seed=1)]
    (told,) = repeats_of([*failed, *passed, *blind, case("alone", hola())])
    assert (told.passed, told.failed, told.unknown, told.rate) == (8, 2, 1, 0.8)
    assert (told.first_failing_seed, told.again) == (9, "testbed run a --seed 9")
    assert told.interval == pytest.approx((0.4901, 0.9433), abs=1e-3)
    assert say_repeats(told) == (
        "passed 8 of 10: 80.0 %, at 95 % between 49.0 and 94.3 %; 1 unknown; first failing seed 9"
    )


def test_a_retry_does_not_mend_the_rate() -> None:
    """A pass after another try counts as what its first try was."""
    (told,) = repeats_of(
        [
            case("a", hola(), scenario="s", file="f"),
            case("b", hola(), scenario="s", file="f", earlier=(case("b", lost_synack(), seed=4),)),
        ]
    )
    assert (told.passed, told.failed, told.first_failing_seed) == (1, 1, 4)
