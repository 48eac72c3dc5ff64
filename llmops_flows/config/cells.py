"""The cells of a sweep: every point built, its faults told, and points that would do the same work known as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from llmops_flows.core.errors import ConfigError, Fault, did_you_mean
from llmops_flows.core.fingerprint import address
from llmops_flows.sweeps.where import Where

from .axes import grid
from .compose import compose
from .experiment import Experiment, build
from .load import assembled
from .points import Point, points

SWEEP = "sweep."


@dataclass(frozen=True)
class Cell:
    """One point of a sweep.

    Attributes:
        number: its place in the sweep, from 0.
        overrides: what sets it apart from the other points.
        experiment: what it runs; None where its config is wrong.
        faults: what is wrong with its config.
        same_as: the number of an earlier point that does exactly the same, None if there is none.
    """

    number: int
    overrides: tuple[str, ...]
    experiment: Experiment | None
    faults: tuple[Fault, ...] = ()
    same_as: int | None = None


def cells(overrides: Sequence[str]) -> list[Cell]:
    """Every cell of the sweep that overrides ask for, the last axis varying fastest.

    The overrides are in Hydra's grammar: free text is quoted (`text.quoted`), globs are written out
    (`compose.expanded`).

    `sweep.zip` names axes that move together, `sweep.where` is a condition that a point must fulfil.

    Raises:
        ConfigError: with everything that is wrong with the overrides themselves, or when no point is left.
    """
    asked, own = rules(overrides)
    if own.maximize or own.minimize:
        what, mend = "a sweep runs every point; a search has something to reach", "add hydra/sweeper=optuna"
        raise ConfigError(Fault(what, f"{SWEEP}{'maximize' if own.maximize else 'minimize'}", "command line", mend))
    wanted = grid(asked, own.zip)
    kept = [point for point in points(wanted) if own.where is None or holds(own.where, point)]
    if not kept:
        raise ConfigError(Fault("no point is left", key="sweep.where", mend="loosen the condition"))
    first: dict[str, int] = {}
    return [cell(number, point, wanted.fixed, first) for number, point in enumerate(kept)]


def cell(number: int, point: Point, fixed: Sequence[str], first: dict[str, int]) -> Cell:
    """A point, built.

    Args:
        number: its place in the sweep.
        point: the point.
        fixed: the overrides of all points.
        first: work to the number of the first cell that does it; filled in.
    """
    found = _cell(number, point, fixed)
    if found.experiment is None:
        return found
    same = first.setdefault(work(found.experiment), number)
    return replace(found, same_as=same if same != number else None)


@dataclass(frozen=True)
class Rules:
    """What `sweep.*` says: axes that move together, a condition, and what a search is after."""

    zip: tuple[tuple[str, ...], ...] = ()
    where: Where | None = None
    maximize: tuple[str, ...] = ()
    minimize: tuple[str, ...] = ()


def rules(overrides: Sequence[str]) -> tuple[list[str], Rules]:
    """The overrides without those of the sweep itself, and what these say. Raises ConfigError."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    own = [text for text in overrides if text.lstrip("+").startswith(SWEEP)]
    values: dict[str, Any] = {}
    for text in own:
        parsed = OverridesParser.create().parse_override(text)
        values[parsed.key_or_group.removeprefix(SWEEP)] = parsed.value()
    names = [field.name for field in fields(Rules)]
    if unknown := sorted(values.keys() - set(names)):
        mend = "{}; sweep.zip=[[key,key]], sweep.where='key == value'"
        raise ConfigError(
            [Fault(f"a sweep has no {n!r}", f"{SWEEP}{n}", mend=mend.format(did_you_mean(n, names))) for n in unknown]
        )
    zipped = values.get("zip") or []
    if zipped and not all(isinstance(group, list) for group in zipped):
        zipped = [zipped]
    where = values.get("where")
    return [text for text in overrides if text not in own], Rules(
        zip=tuple(tuple(str(key) for key in group) for group in zipped),
        where=Where(str(where)) if where else None,
        maximize=_names(values.get("maximize")),
        minimize=_names(values.get("minimize")),
    )


def _names(value: Any) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else [value]
    return tuple(str(name) for name in listed if name is not None)


def holds(where: Where, point: Point) -> bool:
    """Whether a point fulfils a condition."""

    def look(key: str) -> Any:
        if key in point.choices:
            return point.choices[key]
        node: Any = point.raw
        for step in key.split("."):
            node = node[step]
        return node

    def careful(key: str) -> Any:
        try:
            return look(key)
        except (KeyError, TypeError):
            raise LookupError(key) from None

    return where(careful)


def _cell(number: int, point: Point, fixed: Sequence[str]) -> Cell:
    try:
        experiment = replace(build(point.config, names=point.names), choices=dict(point.choices))
    except ConfigError as error:
        faults = error.faults
        try:  # once more in full: then each fault knows its file and line
            return Cell(number, point.overrides, assembled(compose([*fixed, *point.overrides], typed=False)))
        except ConfigError as located:
            faults = located.faults
        return Cell(number, point.overrides, None, faults)
    return Cell(number, point.overrides, experiment)


def work(experiment: Experiment) -> str:
    """The address of what an experiment does: two of the same do the same work."""
    settings = experiment.settings
    return address(
        [
            experiment.flow.identity,
            {name: stage.identity for name, stage in experiment.evaluators.items()},
            settings.questions.model_dump(mode="json"),
            [settings.question, settings.samples, settings.tenant],
            experiment.cache.identity,
            {name: part.configuration for name, part in experiment.tracers.items()},
        ]
    )
