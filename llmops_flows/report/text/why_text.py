"""The causes of cache misses as text: a few lines for each stage."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from llmops_flows.core.plural import plural

from ..cache_misses import MissCause, MissGroup, StageMisses

_ADDRESS = re.compile(r"[0-9a-f]{64}")
_MAX_CAUSES = 3
_MAX_ROWS = 8
_MAX_VALUE = 40


def format_misses(flow: str, run: str, rows: int, stages: Sequence[StageMisses], *, width: int, full: bool) -> str:
    """`width`: of the column of stage names. `full`: every cause, the rows, and changed texts line by line."""
    lines = [f"{flow}, run {run[:8]}, {plural(rows, 'row')}"]
    for stage in stages:
        for number, line in enumerate(_stage_lines(stage, full)):
            lines.append(f"{stage.stage if not number else '':<{width}}  {_printable(line)}")
    return "\n".join(lines)


def _stage_lines(stage: StageMisses, full: bool) -> Iterator[str]:
    other = [(state, count) for state, count in stage.states.items() if state != "computed"]
    if len(other) == 1:
        yield f"{other[0][1]} {other[0][0]}"
    elif other:
        counts = ", ".join(f"{count} {state}" for state, count in other)
        yield f"{sum(count for _, count in other)} not computed: {counts}"
    for group in stage.groups:
        before = f" (before: run {group.run[:8]})" if group.run else ""
        yield f"{len(group.rows)} computed: {_causes(group, full)}{before}"
        if full:
            yield from (f"  {line}" for line in _details(group))
    yield from (f"  {count} x {error}" for error, count in stage.errors.items())


def _causes(group: MissGroup, full: bool) -> str:
    causes = list(dict.fromkeys(map(_cause, group.causes)))
    if len(causes) > _MAX_CAUSES and not full:
        causes = [*causes[:_MAX_CAUSES], f"and {len(causes) - _MAX_CAUSES} more: name the stage to see all"]
    return ", ".join(causes)


def _cause(cause: MissCause) -> str:
    if cause.kind == "setting":
        return _setting(cause)
    if cause.kind == "input":
        return _input(cause)
    question = f": {_short(cause.after)}" if cause.kind == "row" and cause.after else ""
    return {
        "row": f"new question{question}",
        "sample": f"sample {cause.after} is new",
        "tenant": f"tenant {cause.before!r} -> {cause.after!r}",
        "first": "the first run of this stage",
        "again": f"requested before, but {cause.name}",
        "lost": "known before, and lost since: evicted, damaged, or in another store",
        "unrecorded": "the cause is not recorded",
    }[cause.kind]


def _setting(cause: MissCause) -> str:
    owner, _, name = cause.name.rpartition(".")
    if name == "code":
        return f"new version of the code{f' of {owner!r}' if owner else ''}"
    if name == "class":
        return f"{_class_name(cause.before)} -> {_class_name(cause.after)}"
    if _ADDRESS.fullmatch(str(cause.after)) and _ADDRESS.fullmatch(str(cause.before)):
        return f"new content of {cause.name!r}"
    outer = re.split(r"\.\d+(?:\.|$)", cause.name)[0]
    values = (cause.before, cause.after)
    if outer != cause.name or any(isinstance(v, (dict, list)) or len(str(v)) > _MAX_VALUE for v in values):
        return f"{outer!r} changed"
    return f"{cause.name!r} {_short(cause.before)} -> {_short(cause.after)}"


def _input(cause: MissCause) -> str:
    if cause.by:
        return f"new {cause.name!r} from {cause.by!r}"
    if isinstance(cause.after, str) and isinstance(cause.before, str):
        return f"{cause.name!r} {_short(cause.before)} -> {_short(cause.after)}"
    return f"new {cause.name!r} in the row"


def _details(group: MissGroup) -> Iterator[str]:
    """The rows, and long texts line by line."""
    more = f" and {len(group.rows) - _MAX_ROWS} more" if len(group.rows) > _MAX_ROWS else ""
    yield f"rows {', '.join(group.rows[:_MAX_ROWS])}{more}"
    for cause in group.causes:
        if cause.kind == "setting" and f"{cause.name!r} " not in _setting(cause):
            yield cause.name
            before, after = ([] if v is None else _lines(v) for v in (cause.before, cause.after))
            yield from (f"  {line}" for line in list(difflib.unified_diff(before, after, lineterm="", n=2))[3:])


def _lines(value: Any) -> list[str]:
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)).splitlines()


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = text if len(text) <= _MAX_VALUE else text[: _MAX_VALUE - 1] + "…"
    return repr(text) if isinstance(value, str) else text


def _class_name(value: Any) -> str:
    return str(value).rpartition(".")[2]


def _printable(line: str) -> str:
    return "".join(char if char.isprintable() else " " for char in line)
