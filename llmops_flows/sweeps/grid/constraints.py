"""Constraints of a sweep: `retriever.k < 8 or retriever == bm25`, read as data, never run as code."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from llmops_flows.core.errors import ConfigError, Problem

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, many: one in many,
    ast.NotIn: lambda one, many: one not in many,
}
_WORDS = {"null": None, "true": True, "false": False}
_LONGEST = 2000
Look = Callable[[str], Any]
"""The value of a key at a point: a group's option, or what the config holds. LookupError when there is none."""


class Where:
    """A condition on the keys of a point, made of comparisons with `and`, `or`, `not` and brackets.

    A word that is no key stands for itself, so that `retriever == bm25` needs no quotes; values with a slash or a
    minus are quoted (`prompt == 'rag_support/v2'`).

    Raises:
        ConfigError: the text is no such condition; the message shows where.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            if len(text) > _LONGEST:
                raise ValueError(f"it is longer than {_LONGEST} characters")
            self._tree = ast.parse(text.strip(), mode="eval").body
            self._check(self._tree)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            hint = (
                "compare keys with values, joined by and, or, not: sweep.where='retriever.k < 8 or retriever == bm25'"
            )
            raise ConfigError(Problem(f"{text!r} is no condition: {error}", key="sweep.where", hint=hint)) from None

    def __call__(self, look: Look) -> bool:
        """Whether the condition holds at the point that `look` reads.

        Raises:
            ConfigError: two values cannot be compared, or a key that is compared by size is not there.
        """
        try:
            found = self._value(self._tree, look)
            if not isinstance(found, bool):
                raise TypeError("it is neither true nor false")
            return found
        except TypeError as error:
            raise ConfigError(Problem(f"{self.text!r} cannot be decided: {error}", key="sweep.where")) from None

    def _check(self, node: ast.AST) -> None:
        match node:
            case ast.BoolOp(values=parts):
                inner: list[ast.AST] = list(parts)
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=one):
                inner = [one]
            case ast.Compare(left=first, comparators=rest):
                inner = [first, *rest]
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                inner = list(parts)
            case ast.Attribute() | ast.Name():
                _dotted(node)
                inner = []
            case ast.Constant(value=str() | int() | float() | bool() | None):
                inner = []
            case _:
                raise ValueError(f"{ast.unparse(node)!r} is neither a key, a value nor a comparison")
        for part in inner:
            self._check(part)

    def _value(self, node: ast.AST, look: Look) -> Any:
        match node:
            case ast.BoolOp(op=ast.And(), values=parts):
                return all(self._value(part, look) for part in parts)
            case ast.BoolOp(values=parts):
                return any(self._value(part, look) for part in parts)
            case ast.UnaryOp(op=ast.Not(), operand=one):
                return not self._value(one, look)
            case ast.UnaryOp(operand=one):
                return -self._value(one, look)
            case ast.Compare(left=first, ops=ops, comparators=rest):
                self._knows_a_key(node, look)
                values = [self._value(part, look) for part in (first, *rest)]
                return all(_COMPARE[type(op)](values[n], values[n + 1]) for n, op in enumerate(ops))
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                return [self._value(part, look) for part in parts]
            case ast.Constant(value=value):
                return value
            case ast.Name(id=word) if word in _WORDS:
                return _WORDS[word]
        name = _dotted(node)
        try:
            return look(name)
        except LookupError:
            return name

    def _knows_a_key(self, comparison: ast.Compare, look: Look) -> None:
        """A comparison that names no key is a misspelt one: it would be true, or false, at every point."""
        named = [
            _dotted(n) for n in (comparison.left, *comparison.comparators) if isinstance(n, ast.Name | ast.Attribute)
        ]
        for name in named:
            try:
                look(name)
                return
            except LookupError:
                continue
        told = f"{ast.unparse(comparison)!r} names no key of the config"
        raise ConfigError(Problem(told, key="sweep.where", hint="name a group or a key: retriever, retriever.k"))


def _dotted(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=inner, attr=name):
            return f"{_dotted(inner)}.{name}"
    raise ValueError(f"{ast.unparse(node)!r} is no key")
