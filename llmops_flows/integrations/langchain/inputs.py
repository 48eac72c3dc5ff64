"""What a flow takes as a Runnable, as the slots of a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_flows.core.errors import InputError
from llmops_flows.core.flow import Flow
from llmops_flows.text.suggestions import nearest


def input_slots(flow: Flow, input: Any) -> dict[str, Any]:
    """The slots that an input fills. Raises InputError where they are not what the flow takes."""
    values = {flow.inputs[0]: input} if isinstance(input, str) else input
    if not isinstance(values, Mapping):
        wanted = f"a string or a dict with {', '.join(flow.inputs)}"
        raise InputError(f"the flow {flow.name!r} takes {wanted}; it was given {_shown(input)}")
    missing = [name for name in flow.inputs if values.get(name) is None]
    if missing:
        filled = [name for name in values if values[name] is not None]
        meant = [f"{found!r} for {near!r}" for found in filled if (near := nearest(str(found), missing))]
        empty = [f"{name!r} (None)" for name in values if name not in filled]
        told = f"the input has {', '.join([*map(repr, filled), *empty]) or 'nothing'}"
        guess = f"; did you write {' and '.join(meant)}?" if meant else ""
        raise InputError(f"the flow {flow.name!r} reads {', '.join(map(repr, missing))}; {told}{guess}")
    if not isinstance(values.get("question", ""), str):
        given = _shown(values["question"])
        raise InputError(f"the question of the flow {flow.name!r} is a text; it was given {given}")
    return dict(values)


def _shown(value: Any) -> str:
    return "None" if value is None else f"{value!r:.60} ({type(value).__name__})"


def join_pieces(pieces: list[Any]) -> Any:
    """The input of a streaming chain, put together from its pieces."""
    if not pieces:
        return {}
    joined = pieces[0]
    for piece in pieces[1:]:
        joined = joined + piece
    return joined
