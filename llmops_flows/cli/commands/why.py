"""`why RUN [STAGE]`: stage by stage what was known and what was computed, and what was new about the latter."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import ConfigError, FlowError, Problem
from llmops_flows.core.plural import plural
from llmops_flows.text.suggestions import did_you_mean

from ..argv import parse
from ..run_lookup import named

if TYPE_CHECKING:
    from llmops_flows.report.cache_misses import MissCause, MissGroup, StageMisses

_ADDRESS = re.compile(r"[0-9a-f]{64}")
_MOST = 3
_ROWS = 8
_LONG = 40


def main(arguments: Sequence[str]) -> int:
    """Print why each stage of a run, or the one that is named, had to compute. Returns 0."""
    from llmops_flows.report.cache_misses import MAX_EARLIER_TRACES, explain_misses

    words, flags, _ = parse(arguments, ("--json",))
    if not 1 <= len(words) <= 2:
        raise ConfigError(Problem("one run is explained at a time", hint="why RUN [STAGE] [--json]"))
    with named(words[0]) as [one]:
        run = one.variant.run
        stored = [trace for trace in one.traces.stored(run).values() if trace is not None] if run else []
        if not stored:
            why_not = "it ran with tracer=none, too long ago, or was ended before a row was done"
            raise FlowError(f"no trace of the run {words[0]!r} is kept: {why_not}")
        told = explain_misses(stored, one.traces.before(run, MAX_EARLIER_TRACES), one.traces.contents)
    names = [stage.stage for stage in told]
    if len(words) == 2:
        if words[1] not in names:
            raise FlowError(f"the run has no stage {words[1]!r}; {did_you_mean(words[1], names)}")
        told = [stage for stage in told if stage.stage == words[1]]
    if "--json" in flags:
        print(json.dumps({"run": run, "stages": [asdict(stage) for stage in told]}, indent=2, ensure_ascii=False))
    else:
        print(f"{stored[0]['flow']}, run {run[:8]}, {plural(len(stored), 'row')}")
        print("\n".join(_text(told, width=max(map(len, names)), whole=len(words) == 2)))
    return 0


def _text(told: Sequence[StageMisses], *, width: int, whole: bool) -> Iterator[str]:
    for stage in told:
        rest = [(state, count) for state, count in stage.states.items() if state != "computed"]
        lines = [f"{sum(count for _, count in rest)} " + _states(rest)] if rest else []
        for reason in stage.groups:
            lines.append(f"{len(reason.rows)} computed: {_causes(reason, whole)}{_before(reason)}")
            lines += [f"  {line}" for line in _details(reason)] if whole else []
        lines += [f"  {count} x {error}" for error, count in stage.errors.items()]
        for number, line in enumerate(lines):
            yield f"{stage.stage if not number else '':<{width}}  {_plain(line)}"


def _states(rest: Sequence[tuple[str, int]]) -> str:
    if len(rest) == 1:
        return rest[0][0]
    return "not computed: " + ", ".join(f"{count} {state}" for state, count in rest)


def _before(reason: MissGroup) -> str:
    return f" (before: run {reason.run[:8]})" if reason.run else ""


def _causes(reason: MissGroup, whole: bool) -> str:
    shown = list(dict.fromkeys(map(_cause, reason.causes)))
    if len(shown) > _MOST and not whole:
        shown = [*shown[:_MOST], f"and {len(shown) - _MOST} more: name the stage to see all"]
    return ", ".join(shown)


def _cause(cause: MissCause) -> str:
    if cause.kind == "setting":
        return _setting(cause)
    if cause.kind == "input":
        return _input(cause)
    asked = f": {_short(cause.after)}" if cause.kind == "row" and cause.after else ""
    return {
        "row": f"never asked before{asked}",
        "sample": f"sample {cause.after} is new",
        "tenant": f"tenant {cause.before!r} -> {cause.after!r}",
        "first": "this stage never ran before",
        "again": f"asked before, but {cause.name}",
        "lost": "known once, and lost since: evicted, damaged, or kept in another store",
        "unrecorded": "what was new is not on record",
    }[cause.kind]


def _setting(cause: MissCause) -> str:
    last = cause.name.rpartition(".")[2]
    if last == "code":
        owner = cause.name.rpartition(".")[0]
        return f"the code{f' of {owner!r}' if owner else ''} is another version"
    if last == "class":
        return f"{_tail(cause.before)} -> {_tail(cause.after)}"
    if _ADDRESS.fullmatch(str(cause.after)) and _ADDRESS.fullmatch(str(cause.before)):
        return f"{cause.name!r} holds something else"
    outer = re.split(r"\.\d+(?:\.|$)", cause.name)[0]
    long = any(isinstance(value, (dict, list)) or len(str(value)) > _LONG for value in (cause.before, cause.after))
    if long or outer != cause.name:
        return f"{outer!r} changed"
    return f"{cause.name!r} {_short(cause.before)} -> {_short(cause.after)}"


def _input(cause: MissCause) -> str:
    if cause.by:
        return f"new {cause.name!r} from {cause.by!r}"
    if isinstance(cause.after, str) and isinstance(cause.before, str):
        return f"{cause.name!r} {_short(cause.before)} -> {_short(cause.after)}"
    return f"the row's {cause.name!r} is another"


def _details(reason: MissGroup) -> Iterator[str]:
    """Which rows, and long texts line by line."""
    rows = ", ".join(reason.rows[:_ROWS])
    yield f"rows {rows}" + (f" and {len(reason.rows) - _ROWS} more" if len(reason.rows) > _ROWS else "")
    for cause in reason.causes:
        if cause.kind == "setting" and f"{cause.name!r} " not in _setting(cause):
            yield cause.name
            one, other = ([] if v is None else _lines(v) for v in (cause.before, cause.after))
            yield from (f"  {line}" for line in list(difflib.unified_diff(one, other, lineterm="", n=2))[3:])


def _lines(value: Any) -> list[str]:
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)).splitlines()


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = text if len(text) <= _LONG else text[: _LONG - 1] + "…"
    return repr(text) if isinstance(value, str) else text


def _tail(value: Any) -> str:
    return str(value).rpartition(".")[2]


def _plain(line: str) -> str:
    return "".join(char if char.isprintable() else " " for char in line)
