"""A suite as JUnit XML: what Jenkins, GitLab, GitHub's actions, Azure and others read.

There is no standard, so this keeps to what Jenkins' strict schema (junit-10.xsd of its xUnit plugin) has, and GitLab
shows: a failed scenario is a failure, an unknown one an error, one that was not run is skipped. GitLab shows the text
of a failure and not its message, so the text has it all. A pass after a retry carries Surefire's flakyFailure.

XML 1.0 has no way to write a control character, so all that comes from outside goes through `clean` first.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from testbed.report.cases import Case, Suite, clean_lines, place, told
from testbed.report.escape import clean
from testbed.verdict.value import Outcome

DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
TAGS = {Outcome.FAILED: "failure", Outcome.UNKNOWN: "error"}
FLAKY = {Outcome.FAILED: "flakyFailure", Outcome.UNKNOWN: "flakyError"}
RERUN = {Outcome.FAILED: "rerunFailure", Outcome.UNKNOWN: "rerunError"}
LONGEST_OUTPUT = 200_000  # characters of one ladder; viewers choke on more


def junit_xml(suite: Suite) -> str:
    """The suite as the text of a JUnit file."""
    counts = suite.counts()
    numbers = {"tests": counts["total"], "failures": counts["failed"], "errors": counts["unknown"]}
    shared = {**{name: str(number) for name, number in numbers.items()}, "time": f"{suite.seconds:.3f}"}
    root = Element("testsuites", {"name": clean(suite.name), **shared})
    attributes = {"name": clean(suite.name), **shared, "skipped": str(counts["not_run"])}
    if suite.started:
        attributes["timestamp"] = suite.started
    told_of = SubElement(root, "testsuite", attributes)
    _properties(told_of, suite)
    for case in suite.cases:
        _case(told_of, case)
    indent(root)
    return DECLARATION + tostring(root, encoding="unicode") + "\n"


def _properties(parent: Element, suite: Suite) -> None:
    told_of = {"run_id": suite.run_id, "shard": suite.shard, "jobs": str(suite.jobs)}
    properties = SubElement(parent, "properties")
    for name, value in told_of.items():
        if value:
            SubElement(properties, "property", {"name": name, "value": clean(value)})


def _case(parent: Element, case: Case) -> None:
    names = {"name": clean(case.name), "classname": class_name(case.file)}
    element = SubElement(parent, "testcase", {**names, "time": f"{case.seconds:.3f}"})
    if case.not_run:
        SubElement(element, "skipped", {"message": clean(case.not_run)})
        return
    if case.verdict in TAGS:
        trouble = SubElement(element, TAGS[case.verdict], {"message": _message(case), "type": case.verdict.value})
        trouble.text = _text(case)
    tags = FLAKY if case.flaky else RERUN
    for earlier in case.earlier:
        tag = tags.get(earlier.verdict, tags[Outcome.FAILED])
        again = SubElement(element, tag, {"message": _message(earlier), "type": earlier.verdict.value})
        SubElement(again, "stackTrace").text = _text(earlier)
    output = _output(case)
    if output:
        SubElement(element, "system-out").text = output


def class_name(file: str) -> str:
    """The folder of a scenario with dots, by which viewers group: `scenarios.handshake`."""
    parts = [part for part in PurePosixPath(file).parent.parts if part not in ("/", "..", ".")]
    return clean(".".join(parts)) or "scenarios"


def _message(case: Case) -> str:
    return clean("; ".join(map(str, case.reasons)) or f"{case.verdict}")


def _text(case: Case) -> str:
    where = next((place(reason) for reason in case.reasons if reason.file), case.file)
    return clean_lines("\n".join([f"{case.verdict}: {where}", *told(case)]))


def _output(case: Case) -> str:
    """The ladder; and GitLab's and Jenkins' sign for a file that belongs to a case, where the artefacts have it."""
    text = clean_lines(case.ladder[:LONGEST_OUTPUT])
    inside = case.folder and not case.folder.startswith("/") and ".." not in PurePosixPath(case.folder).parts
    return f"{text}\n[[ATTACHMENT|{clean(case.folder)}/ladder.svg]]\n" if text and inside else text
