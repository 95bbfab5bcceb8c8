"""The JSON Schema and the reference page: current, and of the same opinion as the reader.

TESTBED_REWRITE=1 writes both anew.
"""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from testbed.scenario import mistakes
from testbed.scenario.faults import ACTIONS
from testbed.scenario.read import read_scenario
from testbed.scenario.reference import scenario_reference
from testbed.scenario.schema import editor_comment, scenario_schema, schema_text
from testbed.scenario.steps import BARE, STEPS
from testbed.scenario.yaml12 import compose

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "schema" / "scenario.schema.json"
PAGE = ROOT / "docs" / "scenario-files.md"
BEGIN, END = "<!-- begin of the tables made by testbed.scenario.reference -->\n", "<!-- end of the tables -->\n"
SCENARIOS = sorted((ROOT / "scenarios").rglob("*.yaml"))


@pytest.fixture(scope="module")
def validator() -> Any:
    """A validator of the schema as it is now."""
    jsonschema.Draft202012Validator.check_schema(scenario_schema())
    return jsonschema.Draft202012Validator(scenario_schema())


def tree_of(text: str) -> Any:
    """The plain values of YAML text."""
    root = compose(text.encode(), "x.yaml").root
    assert root is not None
    return root.value


def test_committed_schema_is_current() -> None:
    """schema/scenario.schema.json is what `testbed schema > schema/scenario.schema.json` writes."""
    if os.environ.get("TESTBED_REWRITE"):
        SCHEMA.write_text(schema_text(), encoding="utf-8")
    assert SCHEMA.read_text(encoding="utf-8") == schema_text(), "run: testbed schema > schema/scenario.schema.json"


def test_reference_is_current() -> None:
    """The tables of docs/scenario-files.md are those made from the models."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    wanted = before + BEGIN + "\n" + scenario_reference() + "\n" + END + after
    if os.environ.get("TESTBED_REWRITE"):
        PAGE.write_text(wanted, encoding="utf-8")
    how = "run: TESTBED_REWRITE=1 python -m pytest tests/thorough/test_scenario_schema.py"
    assert PAGE.read_text(encoding="utf-8") == wanted, how


def test_page_names_every_step() -> None:
    """No step is missing from the page."""
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in STEPS if f"| `{name}` |" not in page] == []


EXAMPLES = [block.partition("```")[0] for block in PAGE.read_text(encoding="utf-8").split("```yaml\n")[1:]]


@pytest.mark.parametrize("text", EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples_of_the_page(text: str, validator: Any) -> None:
    """Every scenario that the page shows reads, and validates with the schema."""
    assert read_scenario(text.encode(), "x.yaml").summary
    validator.validate(tree_of(text))


def test_page_shows_every_action() -> None:
    """The examples have a fault of each kind, a timeline, a port of its own."""
    page = "".join(EXAMPLES)
    assert [action for action in ACTIONS if f"{{{action}: " not in page] == []
    assert "timeline:" in page
    assert "ports:" in page


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenarios_agree(path: Path, validator: Any) -> None:
    """Every committed scenario reads, validates with the schema, and tells editors where it is."""
    data = path.read_bytes()
    assert read_scenario(data, str(path)).summary
    validator.validate(tree_of(data.decode()))
    relative = os.path.relpath(SCHEMA, path.parent)
    assert data.decode().splitlines()[0] == editor_comment(relative)


GOOD_STEPS = [
    "socket", "{socket: udp, as: u}", "{bind: free}", "{listen: 7456, backlog: 0}", "accept", "{accept: , as: c}",
    "{connect: b:7456, from: 5000, when: now, error: ECONNREFUSED, timeout: 1.5s}", "{send: {hex: 00 ff}}",
    "{send: {random: 64KiB, seed: 3}}", "{recv: eof}", "{recv: 27, chunk: 9, equals: {random: 27}}", "{shutdown: wr}",
    "{sockopt: {TCP_NODELAY: true, SO_SNDBUF: 4096}}", "{sleep: 0}", "{mark: here}", "{snapshot: table}",
    "{log: Got connection}", "{udp: 53}", "{sendto: b:53, data: x}", "{recvfrom: 1500}", "{repeat: 3, steps: [accept]}",
    "{parallel: 3, steps: [{connect: b:7456}]}", "{listen: , as: l}", "{close: l}", "{abort: }", "{wait: there}",
    "hold",
]  # fmt: skip


@pytest.mark.parametrize("step", GOOD_STEPS)
def test_good_steps(step: str, validator: Any) -> None:
    """The schema takes every way of writing a step that the reader takes."""
    before = "{listen: 1, as: l}, " if "l" in step else "{listen: 1}, "
    text = f"summary: x\nhosts: {{a: {{steps: [{before}{step}]}}, b: {{steps: [{{mark: there}}]}}}}\n"
    assert read_scenario(text.encode(), "x.yaml")
    validator.validate(tree_of(text))


@pytest.mark.parametrize(
    "text",
    [
        "sumary: x\nhosts: {a: {steps: [hold]}}",
        "summary: ''\nhosts: {a: {steps: [hold]}}",
        "summary: x\nhosts: {}",
        "summary: x\nhosts: {Server: {}}",
        "summary: x\nhosts: {sniffer: {}}",
        "summary: x\nhosts: {a: {steps: [connect]}}",
        "summary: x\nhosts: {a: {steps: [acept]}}",
        "summary: x\nhosts: {a: {steps: [{on: b}]}}",
        "summary: x\nhosts: {a: {steps: [{listen: 7, bind: 8}]}}",
        "summary: x\nhosts: {a: {steps: [{accept: 3}]}}",
        "summary: x\nhosts: {a: {steps: [{send: {text: a, hex: 00ff}}]}}",
        "summary: x\nhosts: {a: {steps: [{connect: a}]}}",
        "summary: x\nhosts: {a: {steps: [{sleep: 10}]}}",
        "summary: x\nhosts: {a: {steps: [{repeat: 2, steps: []}]}}",
        "summary: x\nhosts: {a: {steps: [hold]}}\nwire: {dleay: 1ms}",
        "summary: x\nhosts: {a: {steps: [hold]}}\nwire: {loss: 0.5}",
        "summary: x\nhosts: {a: {steps: [hold]}}\nfaults: [{drop: SYNACK, from: a}]",
        "summary: x\nhosts: {a: {steps: [hold]}, b: {}}\nfaults: [{from: a}]",
        "summary: x\nhosts: {a: {steps: [hold]}, b: {}}\nfaults: [{drop: SYN, reset: SYN, from: a}]",
        "summary: x\nhosts: {a: {steps: [hold]}, b: {}}\nfaults: [{drop: SYN, from: a, by: 1ms}]",
        "summary: x\nhosts: {a: {steps: [hold]}, b: {}}\nfaults: [{delay: SYN, from: a}]",
        "summary: x\nhosts: {a: {steps: [hold]}, b: {}}\nfaults: [{rewrite: SYN, from: a, set: {seq: x}}]",
        "summary: x\nhosts: {a: {steps: [hold]}}\nwire: {rate: 10}",
        "summary: x\nhosts: {a: {steps: [hold]}}\nwire: {limit: 0}",
        "summary: x\nhosts: {a: {steps: [hold]}}\nwire: {delay: }",
        "summary: x\nhosts: {a: {steps: [hold]}}\nwire: {ports: {65536: {}}}",
        "summary: x\nhosts: {a: {steps: [hold]}}\nwire: {gilbert_elliott: {p: 1%}}",
        "summary: x\nhosts: {a: {steps: [hold]}}\nwire: {timeline: [{delay: 1ms}]}",
        "summary: x\nhosts: {a: {steps: [hold]}}\nwire: {timeline: [{at: 1s, a-b: {}}]}",
        "summary: x\nhosts: {a: {steps: [hold]}}\nexpect: {handshake: {outcome: done}}",
        "summary: x\nhosts: {a: {steps: [hold]}}\nexpect: {payload: {a->b: x}}",
        "summary: x\nhosts: {a: {steps: [hold]}}\nexpect: {states: {a: [ESTAB]}}",
        "summary: x\nhosts: {a: {steps: [hold]}}\nexpect: {handshake: {duration: 1..2}}",
    ],
)
def test_bad_files(text: str, validator: Any) -> None:
    """What the reader refuses by its shape, the schema refuses too."""
    assert not validator.is_valid(tree_of(text))
    with pytest.raises(mistakes.ScenarioErrors):
        read_scenario(text.encode(), "x.yaml")


def test_bare_words() -> None:
    """The words that the schema takes alone are those that the reader takes."""
    assert set(scenario_schema()["$defs"]["Step"]["oneOf"][0]["enum"]) == BARE


def test_purity() -> None:
    """Scenario reading imports nothing that touches the machine: bytes come as arguments."""
    impure = {"socket", "subprocess", "os", "time", "random", "docker", "io", "shutil", "tempfile"}
    for path in sorted((ROOT / "testbed" / "scenario").glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        calls = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not imported & impure, path
        assert "open" not in calls, path
