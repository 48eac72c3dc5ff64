"""Parse and evaluate the constraint of a sweep: `retriever.k < 8 or retriever == bm25`. The text is never executed."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from llmops_flows.core.errors import ConfigError, Problem

_OPERATORS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}
_CONSTANTS = {"null": None, "true": True, "false": False}
_MAX_LENGTH = 2000
_KEY = "sweep.where"
ReadKey = Callable[[str], Any]
"""Returns the value of a key at a point: the option of a group, or a config value. Raises LookupError."""


class Constraint:
    """A condition on the config of a point: comparisons joined by `and`, `or`, `not` and parentheses.

    A word that is not a key stands for itself, so `retriever == bm25` needs no quotes. Values with a slash or a
    hyphen need quotes: `prompt == 'rag_support/v2'`.

    Raises:
        ConfigError: the text cannot be parsed.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            if len(text) > _MAX_LENGTH:
                raise ValueError(f"longer than {_MAX_LENGTH} characters")
            self._tree = ast.parse(text.strip(), mode="eval").body
            _check(self._tree)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            hint = "compare keys with values, joined by and, or, not: retriever.k < 8 or retriever == bm25"
            raise ConfigError(Problem(f"{text!r} cannot be parsed: {error}", _KEY, hint=hint)) from None

    def holds(self, read_key: ReadKey) -> bool:
        """Whether the point whose keys `read_key` reads fulfills the constraint.

        Raises:
            ConfigError: two values cannot be compared, or a comparison names no key.
        """
        try:
            value = _evaluate(self._tree, read_key)
            if not isinstance(value, bool):
                raise TypeError("must be true or false")
            return value
        except TypeError as error:
            raise ConfigError(Problem(f"{self.text!r} cannot be evaluated: {error}", _KEY)) from None


def _check(node: ast.AST) -> None:
    """Raise ValueError for syntax that is not part of the grammar."""
    match node:
        case ast.BoolOp(values=parts) | ast.List(elts=parts) | ast.Tuple(elts=parts):
            children = list(parts)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            children = [operand]
        case ast.Compare(left=left, comparators=others):
            children = [left, *others]
        case ast.Attribute() | ast.Name():
            _dotted_key(node)
            children = []
        case ast.Constant(value=str() | int() | float() | bool() | None):
            children = []
        case _:
            raise ValueError(f"{ast.unparse(node)!r} must be a key, a value or a comparison")
    for child in children:
        _check(child)


def _evaluate(node: ast.AST, read_key: ReadKey) -> Any:
    match node:
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_evaluate(part, read_key) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_evaluate(part, read_key) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _evaluate(operand, read_key)
        case ast.UnaryOp(operand=operand):
            return -_evaluate(operand, read_key)
        case ast.Compare(left=left, ops=ops, comparators=others):
            _check_names_key(node, read_key)
            values = [_evaluate(part, read_key) for part in (left, *others)]
            return all(_OPERATORS[type(op)](values[n], values[n + 1]) for n, op in enumerate(ops))
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [_evaluate(part, read_key) for part in parts]
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
    key = _dotted_key(node)
    try:
        return read_key(key)
    except LookupError:
        return key


def _check_names_key(comparison: ast.Compare, read_key: ReadKey) -> None:
    """A comparison without a key is a misspelled one: it would have the same value at every point."""
    for operand in (comparison.left, *comparison.comparators):
        if isinstance(operand, ast.Name | ast.Attribute):
            try:
                read_key(_dotted_key(operand))
                return
            except LookupError:
                continue
    message = f"{ast.unparse(comparison)!r} names no key of the config"
    raise ConfigError(Problem(message, _KEY, hint="name a group or a key: retriever, retriever.k"))


def _dotted_key(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=parent, attr=name):
            return f"{_dotted_key(parent)}.{name}"
    raise ValueError(f"{ast.unparse(node)!r} is not a key")
