"""The space of a search: Hydra's sweep grammar, where intervals and ranges are numbers instead of lists of values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.integrations.optuna import ParameterValue, SearchParameter
from llmops_flows.text.suggestions import did_you_mean

from ..grid.axes import COMMAND_LINE, SweepAxis, parse_grid, parse_overrides

TAGS = ("int", "log")


@dataclass(frozen=True)
class Space:
    """The overrides that all points share, and the parameters that vary."""

    fixed: tuple[str, ...]
    parameters: tuple[SearchParameter, ...]

    def overrides(self, values: Mapping[str, ParameterValue]) -> tuple[str, ...]:
        """The overrides of the point with these parameter values."""
        return tuple(text for parameter in self.parameters for text in parameter.overrides(values[parameter.name]))

    @property
    def probes(self) -> list[tuple[str, ...]]:
        """A few points that together contain each choice and both ends of each interval."""
        first = {parameter.name: parameter.sample_values[0] for parameter in self.parameters}
        others = [{**first, parameter.name: end} for parameter in self.parameters for end in parameter.sample_values]
        return list(dict.fromkeys(self.overrides(values) for values in [first, *others]))

    @property
    def size(self) -> int | None:
        """The number of points; None if it is infinite."""
        size = 1
        for parameter in self.parameters:
            if parameter.values is None:
                return None
            size *= len(parameter.values)
        return size


def parse_space(overrides: Sequence[str], zipped: Sequence[Sequence[str]] = ()) -> Space:
    """The space of overrides in Hydra's grammar.

    `choice(…)` and `a,b,c` are values without an order, `range(…)` and `interval(…)` are numbers;
    `tag(log, …)` searches on a logarithmic scale, `int(…)` or `tag(int, …)` whole numbers. A later override of a key
    replaces an earlier one.

    Raises:
        ConfigError: with every override that cannot be searched, or if nothing varies.
    """
    last: dict[str, tuple[str, Any]] = {}
    for text, parsed in zip(overrides, parse_overrides(overrides), strict=True):
        last.pop(parsed.get_key_element(), None)
        last[parsed.get_key_element()] = text, parsed
    zipped_keys = {key for group in zipped for key in group}
    varying = {key: parsed for key, (_, parsed) in last.items() if parsed.is_sweep_override()}
    if problems := [problem for parsed in varying.values() for problem in _problems(parsed)]:
        raise ConfigError(problems)
    numbers = {
        key: _number_parameter(parsed)
        for key, parsed in varying.items()
        if key not in zipped_keys and _is_numeric(parsed)
    }
    grid = parse_grid([text for key, (text, _) in last.items() if key not in numbers], zipped)
    parameters = {**{axis.keys[0]: _choice_parameter(axis) for axis in grid.axes}, **numbers}
    if not parameters:
        hint = "give keys several values: retriever=bm25,hybrid retriever.k='range(2,9)' model.top_p='interval(0,1)'"
        raise ConfigError(Problem("a search needs a key with several values", "-m", COMMAND_LINE, hint))
    return Space(grid.fixed, tuple(parameters[key] for key in last if key in parameters))


def _is_numeric(parsed: Any) -> bool:
    return bool(parsed.is_range_sweep() or parsed.is_interval_sweep())


def _problems(parsed: Any) -> Iterator[Problem]:
    value, override = parsed._value, parsed.input_line
    for tag in sorted(set(value.tags) - set(TAGS)):
        yield Problem(f"unknown tag {tag!r}", override, COMMAND_LINE, did_you_mean(tag, TAGS))
    if getattr(value, "shuffle", False):
        yield Problem("a search cannot shuffle values", override, COMMAND_LINE, "leave out shuffle()")
    if parsed.is_interval_sweep() and value.start > value.end:
        hint = f"interval({value.end:g},{value.start:g})"
        yield Problem("the start of an interval must not exceed its end", override, COMMAND_LINE, hint)
    if parsed.is_discrete_sweep() and not list(parsed.sweep_string_iterator()):
        yield Problem("the range is empty", override, COMMAND_LINE, "range(START,STOP) ends before STOP")
    if "log" in value.tags:
        if not _is_numeric(parsed) or (
            parsed.is_range_sweep() and (value.step != 1 or not isinstance(value.start, int))
        ):
            message = "log must tag an interval(), or a range() of whole numbers in steps of 1"
            yield Problem(message, override, COMMAND_LINE)
        elif value.start <= 0:
            yield Problem("the start of a log interval must be greater than 0", override, COMMAND_LINE)


def _number_parameter(parsed: Any) -> SearchParameter:
    key, value = parsed.get_key_element(), parsed._value
    log = "log" in value.tags
    if parsed.is_interval_sweep():
        start, end = value.start, value.end
        if "int" in value.tags or isinstance(start, int):
            start, end = int(start), int(end)
        return SearchParameter(key, numbers=(start, end), log=log)
    texts = sorted(parsed.sweep_string_iterator(), key=float)
    is_whole = all(isinstance(part, int) for part in (value.start, value.stop, value.step))
    first, last = [int(text) if is_whole else float(text) for text in (texts[0], texts[-1])]
    overrides = {text: (f"{key}={text}",) for text in texts}
    return SearchParameter(key, overrides, (first, last), abs(value.step), log)


def _choice_parameter(axis: SweepAxis) -> SearchParameter:
    if len(axis.keys) == 1:
        prefix = f"{axis.keys[0]}="
        return SearchParameter(axis.keys[0], {value[0].removeprefix(prefix): value for value in axis.values})
    return SearchParameter(",".join(axis.keys), {" ".join(value): value for value in axis.values})
