"""The small changes that mutation testing makes to a module, one at a time: a mutant each.

| what is there | what comes instead |
|---|---|
| `<` `<=` `>` `>=` `==` `!=` `is` `in` | its neighbour or its opposite |
| `and` `or` `not`, a condition | the other one, without, its opposite |
| `+` `-` `*` `//` `%` `<<` `>>` `&` `|` `^` | its counterpart, also in `+=` |
| a number, True, False, a word, bytes | one more, the other, the word altered |
| a value that is returned or kept under a name | None |
| a call, `x.y = ...`, `x[y] = ...`, `+=`, raise, del | nothing |
| `break`, `continue` | the other |
| an argument of a call | nothing |

Left out: annotations, docstrings, imports, what is only for the type checker, and strings with a blank in them, which
are sentences for people. Nothing else is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE,),
    ast.LtE: (ast.Lt,),
    ast.Gt: (ast.GtE,),
    ast.GtE: (ast.Gt,),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
OPPOSITES = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)  # their change is the negated condition
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}


@dataclass(frozen=True)
class Site:
    """A node that can be changed, and what could stand there instead."""

    parent: ast.AST
    field: str
    index: int | None
    node: ast.AST
    instead: ast.AST
    lines: range  # that run when it does: those of its statement, or its own in the head of a block
    deferred: bool  # in the body of a function: not run when the module is imported

    def put(self, node: ast.AST) -> None:
        """Put this node there."""
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def sites(tree: ast.Module) -> Iterator[Site]:
    """All changes of a module, each once."""
    seen: set[tuple[int, int, int | None, str]] = set()
    for site in _walk(tree, range(0), deferred=False):
        node = site.node
        assert isinstance(node, ast.expr | ast.stmt)
        ast.fix_missing_locations(ast.copy_location(site.instead, node))
        key = (node.lineno, node.col_offset, node.end_col_offset, ast.unparse(site.instead))
        if key not in seen and key[3] != ast.unparse(node):
            seen.add(key)
            yield site


def _walk(parent: ast.AST, around: range, *, deferred: bool) -> Iterator[Site]:
    for field, index, node in _children(parent):
        inside = deferred or (
            field == "body" and isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        )
        lines = around
        if isinstance(node, ast.stmt) or (isinstance(node, ast.expr) and not around):
            lines = range(0) if hasattr(node, "body") and isinstance(node, ast.stmt) else _lines(node)
        for instead in _instead(parent, field, node):
            yield Site(parent, field, index, node, instead, lines, inside)
        yield from _walk(node, lines, deferred=inside)


def _lines(node: ast.expr | ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _children(parent: ast.AST) -> Iterator[tuple[str, int | None, ast.AST]]:
    if isinstance(parent, ast.Import | ast.ImportFrom | ast.Global | ast.Nonlocal):
        return
    for field, value in ast.iter_fields(parent):
        if field in ("annotation", "returns", "bases"):
            continue
        for index, node in enumerate(value) if isinstance(value, list) else ((None, value),):
            if isinstance(node, ast.AST) and not _is_left_out(node):
                yield field, index, node


def _is_left_out(node: ast.AST) -> bool:
    """A docstring, a sentence, or what only the type checker reads."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value


def _instead(parent: ast.AST, field: str, node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.expr):
        if field == "test" or (field == "ifs" and isinstance(parent, ast.comprehension)):
            yield from _negated(node)
        yield from _expression(node)
    elif isinstance(node, ast.stmt):
        yield from _statement(node)


def _negated(node: ast.expr) -> Iterator[ast.expr]:
    if not isinstance(node, ast.UnaryOp) and not (isinstance(node, ast.Compare) and isinstance(node.ops[0], OPPOSITES)):
        yield ast.UnaryOp(ast.Not(), node)


def _expression(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Compare(left, ops, comparators):
            for index, op in enumerate(ops):
                for other in COMPARISONS[type(op)]:
                    yield ast.Compare(left, [*ops[:index], other(), *ops[index + 1 :]], comparators)
        case ast.BoolOp(op, values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(ast.Not() | ast.USub() | ast.Invert(), operand):
            yield copy(operand)
        case ast.BinOp(left, op, right) if type(op) in ARITHMETIC:
            yield ast.BinOp(left, ARITHMETIC[type(op)](), right)
        case ast.Constant(value):
            yield from _constant(value)
        case ast.Call(func, args, keywords):
            for index in range(len(args)):
                yield ast.Call(func, [*args[:index], *args[index + 1 :]], keywords)
            for index in range(len(keywords)):
                yield ast.Call(func, args, [*keywords[:index], *keywords[index + 1 :]])


def _constant(value: object) -> Iterator[ast.expr]:
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        yield ast.Constant(value + 1)
    elif isinstance(value, str):
        yield ast.Constant(f"XX{value}XX")
    elif isinstance(value, bytes):
        yield ast.Constant(b"XX" + value + b"XX")


def _statement(node: ast.stmt) -> Iterator[ast.stmt]:
    match node:
        case ast.Return(ast.expr()):
            yield ast.Return(ast.Constant(None))
        case ast.Assign(targets) if all(isinstance(target, ast.Name) for target in targets):
            yield ast.Assign(targets, ast.Constant(None))
        case ast.AnnAssign(target=ast.Name(), value=ast.expr()):
            changed = copy(node)
            changed.value = ast.Constant(None)
            yield changed
        case ast.AugAssign(target, op, value):
            yield ast.Pass()
            if type(op) in ARITHMETIC:
                yield ast.AugAssign(target, ARITHMETIC[type(op)](), value)
        case ast.Assign() | ast.AnnAssign(value=ast.expr()) | ast.Expr() | ast.Raise() | ast.Delete() | ast.Assert():
            yield ast.Pass()
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
