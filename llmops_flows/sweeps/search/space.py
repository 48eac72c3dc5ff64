"""The space of a search: Hydra's sweep grammar, with intervals and ranges as numbers instead of lists of values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.integrations.optuna import ParameterValue, SearchParameter
from llmops_flows.text.suggestions import did_you_mean

from ..grid.axes import LINE, SweepAxis, grid

TAGS = ("int", "log")


@dataclass(frozen=True)
class Space:
    """What is the same at every point, and what may vary."""

    fixed: tuple[str, ...]
    parameters: tuple[SearchParameter, ...]

    def overrides(self, values: Mapping[str, ParameterValue]) -> tuple[str, ...]:
        """The overrides that set a point apart from the others."""
        return tuple(o for parameter in self.parameters for o in parameter.overrides(values[parameter.name]))

    @property
    def probes(self) -> list[tuple[str, ...]]:
        """A few points that tell whether the values are right: each choice and each end, beside the first ones."""
        first = {parameter.name: parameter.sample_values[0] for parameter in self.parameters}
        points = [{**first, p.name: end} for p in self.parameters for end in p.sample_values]
        return list(dict.fromkeys(self.overrides(values) for values in [first, *points]))

    @property
    def size(self) -> int | None:
        """How many points there are; None where there is no end of them."""
        size = 1
        for parameter in self.parameters:
            if parameter.values is None:
                return None
            size *= len(parameter.values)
        return size


def space(overrides: Sequence[str], zipped: Sequence[Sequence[str]] = ()) -> Space:
    """The space that overrides in Hydra's grammar span.

    `choice(…)` and `a,b,c` are values without an order, `range(…)` and `interval(…)` are numbers;
    `tag(log, …)` searches orders of magnitude, `int(…)` or `tag(int, …)` whole numbers. A later override of a key
    takes the place of an earlier one.

    Raises:
        ConfigError: with every override that cannot be searched, or when nothing varies.
    """
    last: dict[str, tuple[str, Any]] = {}
    for text, parsed in zip(overrides, _parsed(overrides), strict=True):
        last.pop(parsed.get_key_element(), None)
        last[parsed.get_key_element()] = text, parsed
    joint = {key for group in zipped for key in group}
    problems: list[Problem] = []
    numbers: dict[str, SearchParameter] = {}
    for key, (_, parsed) in last.items():
        if parsed.is_sweep_override():
            problems += _problems(parsed)
            if key not in joint and not problems and _numeric(parsed):
                numbers[key] = _numbers(parsed)
    if problems:
        raise ConfigError(problems)
    rest = grid([text for key, (text, _) in last.items() if key not in numbers], zipped)
    found = {**{axis.keys[0]: _choice(axis) for axis in rest.axes}, **numbers}
    if not found:
        hint = "give keys several values: retriever=bm25,hybrid retriever.k='range(2,9)' model.top_p='interval(0,1)'"
        raise ConfigError(Problem("nothing varies, so there is nothing to search", "-m", LINE, hint))
    return Space(rest.fixed, tuple(found[key] for key in last if key in found))


def _parsed(overrides: Sequence[str]) -> list[Any]:
    from llmops_flows.config.composition.override_parser import parse_override

    found = [parse_override(text) for text in overrides]
    problems = [problem for _, problem in found if problem is not None]
    if problems:
        raise ConfigError(problems)
    return [parsed for parsed, _ in found]


def _numeric(parsed: Any) -> bool:
    return bool(parsed.is_range_sweep() or parsed.is_interval_sweep())


def _problems(parsed: Any) -> Iterable[Problem]:
    value, key = parsed._value, parsed.input_line
    for tag in sorted(set(value.tags) - set(TAGS)):
        yield Problem(f"there is no tag {tag!r} in a search", key, LINE, did_you_mean(tag, TAGS))
    if getattr(value, "shuffle", False):
        yield Problem("a search has no order that could be shuffled", key, LINE, "leave shuffle() out")
    if parsed.is_interval_sweep() and value.start > value.end:
        yield Problem("the interval ends before it begins", key, LINE, f"interval({value.end:g},{value.start:g})")
    if parsed.is_discrete_sweep() and not list(parsed.sweep_string_iterator()):
        yield Problem("the range holds no value", key, LINE, "range(START,STOP) ends before STOP")
    if "log" in value.tags:
        yield from _log_problems(parsed)


def _log_problems(parsed: Any) -> Iterable[Problem]:
    value, key = parsed._value, parsed.input_line
    if not _numeric(parsed) or (parsed.is_range_sweep() and (value.step != 1 or not isinstance(value.start, int))):
        yield Problem("log goes with interval(), and with a range of whole numbers in steps of 1", key, LINE)
    elif value.start <= 0:
        yield Problem("orders of magnitude begin above 0", key, LINE, "begin the interval above 0")


def _numbers(parsed: Any) -> SearchParameter:
    key, value = parsed.get_key_element(), parsed._value
    log = "log" in value.tags
    if parsed.is_interval_sweep():
        whole = "int" in value.tags or isinstance(value.start, int)
        return SearchParameter(
            key, numbers=(int(value.start), int(value.end)) if whole else (value.start, value.end), log=log
        )
    texts = sorted(parsed.sweep_string_iterator(), key=float)
    whole = all(isinstance(part, int) for part in (value.start, value.stop, value.step))
    ends = [int(text) if whole else float(text) for text in (texts[0], texts[-1])]
    steps = {text: (f"{key}={text}",) for text in texts}
    return SearchParameter(key, steps, (ends[0], ends[1]), abs(value.step), log)


def _choice(axis: SweepAxis) -> SearchParameter:
    if len(axis.keys) == 1:
        return SearchParameter(axis.keys[0], {step[0].removeprefix(f"{axis.keys[0]}="): step for step in axis.steps})
    return SearchParameter(",".join(axis.keys), {" ".join(step): step for step in axis.steps})
