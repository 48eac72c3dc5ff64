"""The input of a flow as a Runnable, as the slots of a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_flows.core.errors import InputError
from llmops_flows.core.flow import Flow
from llmops_flows.text.suggestions import nearest


def input_slots(flow: Flow, input: Any) -> dict[str, Any]:
    """The slots of an input. Raises InputError if they do not match the inputs of the flow."""
    values = {flow.inputs[0]: input} if isinstance(input, str) else input
    if not isinstance(values, Mapping):
        expected = f"a string or a dict with {', '.join(flow.inputs)}"
        raise InputError(f"the flow {flow.name!r} expects {expected}, got {_described(input)}")
    missing = [name for name in flow.inputs if values.get(name) is None]
    if missing:
        filled = [name for name in values if values[name] is not None]
        similar = [f"{name!r} for {near!r}" for name in filled if (near := nearest(str(name), missing))]
        empty = [f"{name!r} (None)" for name in values if name not in filled]
        received = f"the input has {', '.join([*map(repr, filled), *empty]) or 'nothing'}"
        hint = f"; did you write {' and '.join(similar)}?" if similar else ""
        raise InputError(f"the flow {flow.name!r} reads {', '.join(map(repr, missing))}; {received}{hint}")
    if not isinstance(values.get("question", ""), str):
        raise InputError(f"the question of the flow {flow.name!r} must be text, got {_described(values['question'])}")
    return dict(values)


def _described(value: Any) -> str:
    return "None" if value is None else f"{value!r:.60} ({type(value).__name__})"


def join_pieces(pieces: list[Any]) -> Any:
    """The input of a streaming chain, joined from its pieces."""
    if not pieces:
        return {}
    joined = pieces[0]
    for piece in pieces[1:]:
        joined = joined + piece
    return joined
