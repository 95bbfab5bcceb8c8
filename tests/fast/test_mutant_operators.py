"""What mutation testing changes: each kind of change once, and what it leaves alone."""

from __future__ import annotations

import ast

import pytest
from mutant_operators import sites


def changes(source: str) -> set[str]:
    """The whole module after each change."""
    tree = ast.parse(source)
    found = set()
    for site in list(sites(tree)):
        site.put(site.instead)
        found.add(ast.unparse(tree))
        site.put(site.node)
    assert ast.unparse(tree) == ast.unparse(ast.parse(source))
    return found


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("a < b", {"a <= b"}),
        ("a == b is c", {"a != b is c", "a == b is not c"}),
        ("a and b", {"a or b"}),
        ("a + 1", {"a - 1", "a + 2"}),
        ("not a", {"a"}),
        ("[a for b in c if d]", {"[a for b in c if not d]"}),
        ("'word'", set()),
        ("a['word']", {"a['XXwordXX']"}),
        ("a['a sentence']", set()),
        ("x = True", {"x = None", "x = False"}),
        ("x: int = y", {"x: int = None"}),
        ("x.y = z", {"pass"}),
        ("x += y", {"pass", "x -= y"}),
        ("f(a, b=c)", {"pass", "f(b=c)", "f(a)"}),
        ("import a", set()),
        ("if TYPE_CHECKING:\n    a = 1", set()),
    ],
)
def test_each_kind_of_change(source: str, changed: set[str]) -> None:
    """One change at a time, and the module is as before after each."""
    if not source.startswith(("x", "f(", "import", "if", "'")):
        source, changed = f"z.y = {source}", {"pass", *(f"z.y = {each}" for each in changed)}
    assert changes(source) == changed


def test_blocks_and_returns() -> None:
    """A condition is turned round, a returned value lost, a loop left otherwise."""
    source = "def f(a: int=1) -> int:\n    while a < 2:\n        break\n    return a"
    assert {each.partition("\n")[2] if "a: int=1)" in each else "default" for each in changes(source)} == {
        "default",
        "    while not a < 2:\n        break\n    return a",
        "    while a <= 2:\n        break\n    return a",
        "    while a < 3:\n        break\n    return a",
        "    while a < 2:\n        continue\n    return a",
        "    while a < 2:\n        break\n    return None",
    }


def test_what_runs_on_import_is_told_apart() -> None:
    """Tables, defaults and decorators run on import; bodies of functions and lambdas do not."""
    source = "A = 1\n@d(2)\ndef f(a=3):\n    return 4\nB = lambda: 5"
    deferred = {ast.unparse(site.node): site.deferred for site in sites(ast.parse(source))}
    assert {word: deferred[word] for word in "12345"} == {"1": False, "2": False, "3": False, "4": True, "5": True}
