"""An experiment: a config turned into what runs, with every fault of the config told at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmops_flows.calls.budget import Budget
from llmops_flows.core.cache_policy import CachePolicy
from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.flow import Composite, Flow
from llmops_flows.core.stage import Part, Stage
from llmops_flows.core.trace import Exporter
from llmops_flows.stores.store_config import StoreConfig
from llmops_flows.text.suggestions import did_you_mean

from .builder import Builder
from .field_errors import NO_FLOW, TARGET, field_problems, not_a_component
from .questions import Questions

if TYPE_CHECKING:
    from .composition.composed import Composed

_COMPONENTS: dict[str, type[Part]] = {"cache": CachePolicy, "store": StoreConfig}


class RunSettings(BaseModel):
    """The keys of a config that are no component. `trust` is read from the user's own project only."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    home: Path
    tenant: str = ""
    inputs: tuple[str, ...] = ("question",)
    question: str | None = None
    documents: str | None = None
    questions: Questions = Questions()
    samples: int = Field(default=1, ge=1, le=1000)
    budget: Budget = Budget()
    tags: tuple[str, ...] = ()
    trust: tuple[str, ...] = ()


@dataclass(frozen=True)
class Experiment:
    """What a config describes. `config` is the config as plain data, `choices` maps config group to option.

    `account`: where its sweep keeps account of the budget; "" outside of a sweep.
    """

    settings: RunSettings
    flow: Flow
    evaluators: dict[str, Stage]
    cache: CachePolicy
    store: Part | None
    tracers: dict[str, Part]
    config: dict[str, Any] = field(default_factory=dict)
    choices: dict[str, str] = field(default_factory=dict)
    account: str = ""


GROUPS = (
    "model", "embedder", "splitter", "retriever", "reranker", "prompt", "guardrail",
    "evaluator", "judge", "tracer", "cache", "store", "stages",
)  # fmt: skip


def build_resolved(
    config: Mapping[str, Any], *, names: Mapping[str, str] | None = None, made: dict[str, Part] | None = None
) -> Experiment:
    """The experiment of a resolved config.

    Args:
        names: maps a stage to the config key that it was taken from.
        made: parts that were built for other experiments, by their configs; those of this one are added.

    Raises:
        ConfigError: with every fault that was found.
    """
    builder = Builder(trusted=trusted_packages(config), made={} if made is None else made)
    settings = _settings(config, builder)
    stages = {n: _stage(c, (names or {}).get(n, f"stages.{n}"), builder) for n, c in _items(config, "stages", builder)}
    evaluators = {n: _stage(c, f"evaluator.{n}", builder) for n, c in _items(config, "evaluator", builder)}
    tracers = {n: _component(c, f"tracer.{n}", Part, builder) for n, c in _items(config, "tracer", builder)}
    cache, store = (_component(config.get(name), name, kind, builder) for name, kind in _COMPONENTS.items())
    if not stages:
        builder.problems.append(Problem("a flow needs at least one stage", key="stages"))
    listening = {name: part for name, part in tracers.items() if part is not None}
    builder.problems += tracer_problems(config, listening)
    if settings is None or builder.problems:
        builder.done()
    assert settings is not None
    flow = Flow(name=settings.name, inputs=settings.inputs, stages=stages)
    builder.problems += flow.unwritten_slots()
    builder.done()
    scorers = {name: stage for name, stage in evaluators.items() if isinstance(stage, Stage)}
    return Experiment(settings, flow, scorers, cache or CachePolicy(), store, listening, dict(config))


def tracer_problems(config: Mapping[str, Any], tracers: Mapping[str, Part]) -> list[Problem]:
    """Exporters deliver what the local trace store keeps; without one they would never have anything to deliver."""
    exporters = [name for name, part in tracers.items() if isinstance(part, Exporter)]
    if not exporters or "local" in (config.get("tracer") or {}):
        return []
    hint = f"tracer=[local,{','.join(exporters)}]"
    return [Problem("exporters deliver what the local trace store keeps, and there is none", key="tracer", hint=hint)]


def trusted_packages(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The packages whose components a config may name."""
    from .files.plugins import plugins

    own = config.get("trust") or ()
    named = [str(name) for name in own] if isinstance(own, (list, tuple)) else []
    return ("llmops_flows", *sorted({p.package for p in plugins()}), *named)


def _settings(config: Mapping[str, Any], builder: Builder) -> RunSettings | None:
    wanted = {k: v for k, v in config.items() if k not in GROUPS}
    known = [*RunSettings.model_fields, *GROUPS, "defaults", "hydra"]
    for key in [k for k in wanted if k not in RunSettings.model_fields]:
        builder.problems.append(Problem(f"unknown key {key!r}", key=key, hint=did_you_mean(key, known)))
        del wanted[key]
    try:
        settings = RunSettings(**wanted)
    except ValidationError as error:
        builder.problems += field_problems(error, RunSettings, "", wanted)
        return None
    if settings.question == "":  # as `question="$Q"` without a Q
        hint = "question=TEXT asks one; without question= the question set is asked"
        builder.problems.append(Problem("the question is empty", key="question", hint=hint))
    if not str(wanted.get("home") or "").strip():  # ${home}/store.sqlite would lie in the root of the disk
        builder.problems.append(Problem("no folder is named", key="home", hint="home=FOLDER"))
    return settings


def _items(config: Mapping[str, Any], key: str, builder: Builder) -> list[tuple[str, Any]]:
    found = config.get(key) or {}
    if not isinstance(found, Mapping):
        builder.problems.append(Problem(f"this must map names to components; it is {found!r}", key=key))
        return []
    return [(str(name), inner) for name, inner in found.items()]


def _component(
    config: Any, key: str, kind: type[Part] | tuple[type[Part], ...], builder: Builder, called: str = ""
) -> Any:
    """A component of a kind; None where the config switches the part off, and after a fault."""
    if config is None:
        return None
    if not isinstance(config, Mapping) or TARGET not in config:
        builder.problems.append(not_a_component(config, key))
        return None
    part = builder.part(config, key)
    if part is not None and not isinstance(part, kind):
        what = called or key.partition(".")[0]
        builder.problems.append(Problem(f"a {type(part).__name__} is no {what}", key=key))
        return None
    return part


def _stage(config: Any, key: str, builder: Builder) -> Stage | Composite | None:
    """A stage; None where the config switches the part off."""
    found: Stage | Composite | None = _component(
        config, key, (Stage, Composite), builder, "stage: it cannot run in a flow"
    )
    return found


__all__ = ["ConfigError", "Experiment", "RunSettings", "build_experiment", "build_resolved"]


def build_experiment(composed: Composed) -> Experiment:
    """The experiment of a composed config.

    Raises:
        ConfigError: with every value that is missing or leads nowhere, and everything that is wrong with the rest;
            each fault says in which file and line, or by which override, its key was set.
    """
    from .composition.provenance import locate_problems
    from .composition.unused_overrides import unused_part_problems

    config, problems = composed.loose
    problems = [*problems, *unused_part_problems(composed)]
    try:
        experiment = build_resolved(config, names=composed.names)
    except ConfigError as error:
        problems = _sorted(problems, error.problems)
    if problems:
        raise ConfigError(locate_problems(problems, composed))
    return replace(experiment, choices=composed.choices)


def _sorted(unresolved: Sequence[Problem], built: Sequence[Problem]) -> list[Problem]:
    """The faults of values that are missing or lead nowhere, and of what was built: no place twice."""
    unknown = {f.key for f in built if " has no field " in f.what or f.what.startswith("unknown key ")}
    if any(f.what == NO_FLOW for f in unresolved):
        built = [f for f in built if f.key != "stages"]
    own = [f for f in unresolved if not any(f.key == key or f.key.startswith(f"{key}.") for key in unknown)]
    return [*own, *(f for f in built if f.key in unknown or not any(_same(f, g.key or "name") for g in own))]


def _same(problem: Problem, key: str) -> bool:
    """Whether a fault is about a key that is wrong anyway, or about what lies in it."""
    above, _, name = key.rpartition(".")
    below = problem.key == key or problem.key.startswith(f"{key}.")
    return below or (above != "" and problem.key == above and name in problem.what) or "'???'" in problem.what
