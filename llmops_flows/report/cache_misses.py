"""The causes of cache misses: each computed answer is compared with the closest one from before the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from llmops_flows.components.cache.none import is_no_cache
from llmops_flows.core.fingerprint import decode
from llmops_flows.core.record import question_id
from llmops_flows.core.redaction import MASK

from .config_differences import ABSENT, DifferingKey, differing_leaves

MissKind = Literal["setting", "input", "row", "sample", "tenant", "first", "again", "lost", "unrecorded"]
Contents = Callable[[Iterable[str]], Mapping[str, bytes]]
"""Address to the stored bytes: `TraceStore.contents`."""
Stored = Mapping[str, Any]
"""A trace in stored form (`core.trace.to_stored`)."""

MAX_EARLIER_TRACES = 5_000
"""The number of earlier traces that are compared."""
_REFUSED = ("refusal", "content_filter")


@dataclass(frozen=True)
class MissCause:
    """One cause of a miss.

    kind: `setting` (a field of the identity of the stage: `name`, values `before` and `after`), `input` (new content
    of the slot `name`; `by`: the stage that wrote it, "" for the caller), `row` (a new question), `sample` and
    `tenant` (another sample or tenant), `first` (the first run of the stage), `again` (requested before: `name` says
    why it was not reused), `lost` (stored before), `unrecorded` (the cause is not recorded).
    """

    kind: MissKind
    name: str = ""
    before: Any = None
    after: Any = None
    by: str = ""


@dataclass(frozen=True)
class MissGroup:
    """Rows of a stage that were computed for the same causes. `run`: the closest earlier run, or ""."""

    causes: tuple[MissCause, ...]
    rows: tuple[str, ...]
    run: str = ""


@dataclass(frozen=True)
class StageMisses:
    """One stage of a run: the number of answers in each state, and the causes of those that were computed.

    errors: message to its number. Failures are never stored.
    """

    stage: str
    states: Mapping[str, int]
    groups: tuple[MissGroup, ...] = ()
    errors: Mapping[str, int] = field(default_factory=dict)


def explain_misses(stored: Sequence[Stored], earlier: Iterable[Stored], contents: Contents) -> list[StageMisses]:
    """The stages of a run in order. earlier: traces from before the run, the last one first."""
    steps = [(trace, n, step) for trace in stored for n, step in enumerate(trace["steps"])]
    computed = {step["stage"] for _, _, step in steps if step["state"] == "computed"}
    past = _EarlierAnswers(earlier if computed else (), computed, contents)
    groups: dict[str, dict[tuple[Any, ...], tuple[tuple[MissCause, ...], str, list[str]]]] = {}
    states: dict[str, Counter[str]] = {}
    errors: dict[str, Counter[str]] = {}
    for trace, n, step in steps:
        states.setdefault(step["stage"], Counter())[step["state"]] += 1
        if step["error"]:
            errors.setdefault(step["stage"], Counter())[step["error"]] += 1
        if step["state"] == "computed":
            causes, run = past.explain(trace, n)
            stage_groups = groups.setdefault(step["stage"], {})
            stage_groups.setdefault(_group_key(causes), (causes, run, []))[2].append(str(trace["record"]))
    return [
        StageMisses(
            stage, dict(counts), tuple(_largest_first(groups.get(stage, {}).values())), dict(errors.get(stage, {}))
        )
        for stage, counts in states.items()
    ]


def _group_key(causes: Sequence[MissCause]) -> tuple[Any, ...]:
    """The key of a group of rows. An input counts by its slot and writer, not by its value."""
    return tuple(
        (c.kind, c.name, c.by, "" if c.kind in ("input", "row") else repr((c.before, c.after))) for c in causes
    )


def _largest_first(groups: Iterable[tuple[tuple[MissCause, ...], str, list[str]]]) -> Iterator[MissGroup]:
    for causes, run, rows in sorted(groups, key=lambda group: -len(group[2])):
        shown = causes if len(rows) == 1 else tuple(_without_values(cause) for cause in causes)
        yield MissGroup(shown, tuple(rows), run)


def _without_values(cause: MissCause) -> MissCause:
    return MissCause(cause.kind, cause.name, by=cause.by) if cause.kind in ("input", "row") else cause


@dataclass(frozen=True)
class _EarlierStep:
    """A step from before the run, with its trace."""

    trace: Stored
    step: Mapping[str, Any]

    @cached_property
    def run(self) -> str:
        return str(self.trace["run"])


class _EarlierAnswers:
    """The answers from before a run: by key, by row, and by the identity of the stage."""

    def __init__(self, earlier: Iterable[Stored], stages: set[str], contents: Contents) -> None:
        self._contents = contents
        self._keys: dict[str, _EarlierStep] = {}
        self._rows: dict[tuple[str, str], dict[tuple[Any, ...], _EarlierStep]] = {}
        self._identities: dict[str, dict[str, _EarlierStep]] = {}
        self._values: dict[str, Any] = {}
        self._fields: dict[tuple[str, str], tuple[MissCause, ...]] = {}
        for trace in earlier:
            for step in trace["steps"]:
                if step["stage"] in stages and step["key"]:
                    self._add(_EarlierStep(trace, step))

    def _add(self, earlier: _EarlierStep) -> None:
        """Add a step, unless a later step with the same key is known."""
        step, trace = earlier.step, earlier.trace
        self._keys.setdefault(_base_key(step), earlier)
        if step["state"] != "failed":
            row_key = (step["identity"], *sorted(step["reads"].items()), trace["tenant"], trace["sample"])
            self._rows.setdefault((step["stage"], _question(trace)), {}).setdefault(row_key, earlier)
            self._identities.setdefault(step["stage"], {}).setdefault(step["identity"], earlier)

    def explain(self, trace: Stored, place: int) -> tuple[tuple[MissCause, ...], str]:
        """The causes of a miss, and the run that the step is compared with."""
        step = trace["steps"][place]
        same_key = self._keys.get(_base_key(step))
        if same_key is not None:
            return (self._not_reused(trace, step, same_key),), same_key.run
        same_row = [(self._differences(trace, place, earlier), earlier) for earlier in self._of_row(trace, step)]
        if same_row:
            causes, closest = min(same_row, key=lambda pair: len(pair[0]))
            return causes or (MissCause("unrecorded"),), closest.run
        identities = self._identities.get(step["stage"], {})
        if not identities:
            return (MissCause("first"),), ""
        question = self._value(trace["inputs"].get("question"))
        new = MissCause("row", after=question if isinstance(question, str) else None)
        other_rows = [(self._changed_settings(earlier.step, step), earlier) for earlier in identities.values()]
        causes, closest = min(other_rows, key=lambda pair: len(pair[0]))
        return (causes, closest.run) if causes else ((new,), "")

    def _of_row(self, trace: Stored, step: Mapping[str, Any]) -> Iterable[_EarlierStep]:
        return self._rows.get((step["stage"], _question(trace)), {}).values()

    # -- differences ---------------------------------------------------------------------------------------------

    def _differences(self, trace: Stored, place: int, earlier: _EarlierStep) -> tuple[MissCause, ...]:
        step, before = trace["steps"][place], earlier.step
        causes = list(self._changed_settings(before, step))
        for slot in dict.fromkeys([*before["reads"], *step["reads"]]):
            old, new = before["reads"].get(slot), step["reads"].get(slot)
            if old != new:
                by = _writer(trace, place, slot)
                values = (None, None) if by else (self._value(old), self._value(new))
                causes.append(MissCause("input", slot, values[0], values[1], by))
        if trace["tenant"] != earlier.trace["tenant"]:
            causes.append(MissCause("tenant", "", earlier.trace["tenant"], trace["tenant"]))
        if not causes and trace["sample"] != earlier.trace["sample"]:
            causes.append(MissCause("sample", "", earlier.trace["sample"], trace["sample"]))
        return tuple(causes)

    def _changed_settings(self, before: Mapping[str, Any], step: Mapping[str, Any]) -> tuple[MissCause, ...]:
        """The fields in which two identities of a stage differ."""
        pair = before["identity"], step["identity"]
        if pair[0] == pair[1]:
            return ()
        if pair not in self._fields:
            docs = [_as_mappings(self._value(identity)) for identity in pair]
            if not all(isinstance(doc, Mapping) for doc in docs):
                docs = [before["settings"], step["settings"]]
            axes = differing_leaves(docs)
            self._fields[pair] = tuple(_unique(map(_setting, _without_replaced(axes)))) or (MissCause("unrecorded"),)
        return self._fields[pair]

    # -- requested before ----------------------------------------------------------------------------------------

    def _not_reused(self, trace: Stored, step: Mapping[str, Any], earlier: _EarlierStep) -> MissCause:
        """Why an earlier answer with the same key was not reused."""
        cache, earlier_cache = self._cache_config(trace), self._cache_config(earlier.trace)
        if earlier.step["state"] == "failed":
            return MissCause("again", f"it failed: {earlier.step['error']}")
        if is_no_cache(cache):
            return MissCause("again", "cache=none reads nothing")
        if is_no_cache(earlier_cache):
            return MissCause("again", "it ran with cache=none, which stores nothing")
        if cache.get("refresh"):
            return MissCause("again", "cache.refresh computes again")
        if "#" in step["key"]:
            return MissCause("again", "samples without a seed are not stored")
        if "fallback_for" in earlier.step["notes"]:
            return MissCause("again", "a fallback answered, which is not stored")
        if earlier.step["notes"].get("finish_reason") in _REFUSED:
            return MissCause("again", "it was refused, which is not stored")
        address = earlier.step["address"]
        if MASK.encode() in self._contents([address]).get(address, b""):
            return MissCause("again", "the answer contains a possible secret, and is not stored")
        return MissCause("lost")

    def _cache_config(self, trace: Stored) -> Mapping[str, Any]:
        config = self._value(trace["config"])
        cache = config.get("cache") if isinstance(config, Mapping) else None
        return cache if isinstance(cache, Mapping) else {}

    def _value(self, address: str | None) -> Any:
        if address is None:
            return None
        if address not in self._values:
            data = self._contents([address]).get(address)
            try:
                self._values[address] = decode(data) if data is not None else None
            except (ValueError, AttributeError):
                self._values[address] = None
        return self._values[address]


def _as_mappings(value: Any) -> Any:
    """An identity with its models as mappings; it holds them as lists of pairs."""
    if isinstance(value, Mapping):
        return {name: _as_mappings(inner) for name, inner in value.items()}
    if not isinstance(value, list):
        return value
    if value and all(isinstance(v, list) and len(v) == 2 and isinstance(v[0], str) for v in value):
        return {name: _as_mappings(inner) for name, inner in value}
    return [_as_mappings(inner) for inner in value]


def _base_key(step: Mapping[str, Any]) -> str:
    """The key of a step, without the suffix of an answer that belongs to one record only."""
    return str(step["key"]).partition("#")[0]


def _question(trace: Stored) -> str:
    """The id of the question of a record."""
    return question_id(str(trace["record"]), trace["sample"])


def _writer(trace: Stored, place: int, slot: str) -> str:
    """The stage that wrote the value that a step read in a slot; "" for the caller."""
    steps = trace["steps"]
    address = steps[place]["reads"].get(slot)
    if trace["inputs"].get(slot) == address:
        return ""
    return next((str(step["stage"]) for step in steps[:place] if step["address"] == address), "")


def _without_replaced(axes: Sequence[DifferingKey]) -> list[DifferingKey]:
    """Without the fields of a part whose class differs."""
    replaced = tuple(axis.key.removesuffix("class") for axis in axes if f".{axis.key}".endswith(".class"))
    return [axis for axis in axes if f".{axis.key}".endswith(".class") or not axis.key.startswith(replaced or ".")]


def _setting(axis: DifferingKey) -> MissCause:
    before, after = (None if value is ABSENT else value for value in axis.values)
    return MissCause("setting", axis.key, before, after)


def _unique(causes: Iterable[MissCause]) -> list[MissCause]:
    """Each change once: the first of equal fields (`validators.x.params.share`, `rules.x.share`)."""
    unique: dict[tuple[Any, ...], MissCause] = {}
    for cause in causes:
        unique.setdefault((cause.name.rpartition(".")[2], repr((cause.before, cause.after))), cause)
    return list(unique.values())
