"""Builds and checks an experiment: everything that a config describes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmops_flows.calls.budget_account import Budget
from llmops_flows.core.cache_policy import CachePolicy
from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.flow import Composite, Flow
from llmops_flows.core.stage import Part, Stage
from llmops_flows.core.trace import Exporter
from llmops_flows.stores.store_config import StoreConfig
from llmops_flows.text.suggestions import did_you_mean

from .builder import Builder, trusted_packages
from .field_errors import NO_FLOW, TARGET, field_problems, not_a_component
from .files.groups import groups, is_group
from .questions import Questions
from .tracing import is_listener

if TYPE_CHECKING:
    from .composition.composed import Composed

_SLOTS = {
    "retriever": "documents",
    "reranker": "context",
    "prompt": "messages",
    "model": "answer",
    "evaluator": "scores",
}
"""Config group to the slot that its stages must write."""
_ROLES = {
    **{group: f"a {group} (a stage that writes {slot!r})" for group, slot in _SLOTS.items()},
    "evaluator": "an evaluator (a stage that writes 'scores')",
    "guardrail": "a guardrail (a stage that writes the slot it reads)",
}


class RunSettings(BaseModel):
    """The keys of a config that do not hold components. Plugins cannot set `trust`."""

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
    """What a config describes.

    Attributes:
        config: the resolved config as plain data.
        choices: config group to the option chosen from it.
        account: the name of the budget account that the points of a sweep share; "" outside a sweep.
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


def build_experiment(composed: Composed) -> Experiment:
    """Build the experiment of a composed config.

    Raises:
        ConfigError: with every problem of the config. Each names the file and line, or the override, that set its key.
    """
    from .composition.provenance import locate_problems
    from .composition.unused_overrides import unused_part_problems

    config, problems = composed.resolvable
    problems = [*problems, *unused_part_problems(composed)]
    try:
        experiment = build_resolved(config, stage_keys=composed.stage_keys, choices=composed.choices)
    except ConfigError as error:
        problems = _without_repeats(problems, error.problems)
    if problems:
        raise ConfigError(locate_problems(problems, composed))
    return experiment


def build_resolved(
    config: Mapping[str, Any],
    *,
    stage_keys: Mapping[str, str] | None = None,
    choices: Mapping[str, str] | None = None,
    built: dict[str, Part] | None = None,
) -> Experiment:
    """Build the experiment of a resolved config.

    Args:
        stage_keys: stage name to the config key that defines the stage.
        choices: config group to the option chosen from it.
        built: components by their configs, shared with other experiments; this call adds to it.

    Raises:
        ConfigError: with every problem of the config.
    """
    keys, choices = stage_keys or {}, dict(choices or {})
    builder = Builder(trusted=trusted_packages(config), built={} if built is None else built)
    settings = _settings(config, choices, builder)
    stages = {
        name: _stage(c, keys.get(name, f"stages.{name}"), builder) for name, c in _items(config, "stages", builder)
    }
    evaluators = {name: _stage(c, f"evaluator.{name}", builder) for name, c in _items(config, "evaluator", builder)}
    tracers = {name: _tracer(c, f"tracer.{name}", builder) for name, c in _items(config, "tracer", builder)}
    cache = _component(config.get("cache"), "cache", CachePolicy, "a cache policy", builder)
    store = _component(config.get("store"), "store", StoreConfig, "a store", builder)
    if not stages:
        builder.problems.append(Problem("a flow needs at least one stage", key="stages"))
    present = {name: tracer for name, tracer in tracers.items() if tracer is not None}
    builder.problems += _undeliverable(config, present)
    if settings is None or builder.problems:
        builder.raise_problems()
    assert settings is not None
    flow = Flow(name=settings.name, inputs=settings.inputs, stages=stages)
    builder.problems += flow.unwritten_slots()
    builder.raise_problems()
    scorers = {name: stage for name, stage in evaluators.items() if isinstance(stage, Stage)}
    return Experiment(settings, flow, scorers, cache or CachePolicy(), store, present, dict(config), choices)


def _undeliverable(config: Mapping[str, Any], tracers: Mapping[str, Part]) -> list[Problem]:
    """A problem if there are exporters and no local trace store, which they deliver from."""
    exporters = [name for name, tracer in tracers.items() if isinstance(tracer, Exporter)]
    if not exporters or "local" in (config.get("tracer") or {}):
        return []
    what = "exporters deliver from the local trace store, which is not chosen"
    return [Problem(what, key="tracer", hint=f"tracer=[local,{','.join(exporters)}]")]


def _settings(config: Mapping[str, Any], choices: Iterable[str], builder: Builder) -> RunSettings | None:
    values = {key: value for key, value in config.items() if key in RunSettings.model_fields}
    filled = {"stages", *(_package(group) for group in choices)}
    for key in config:
        if key not in values and key not in filled and not is_group(key):
            known = {*RunSettings.model_fields, *filled, *groups(), "defaults", "hydra"}
            builder.problems.append(Problem(f"unknown key {key!r}", key=key, hint=did_you_mean(key, known)))
    try:
        settings = RunSettings(**values)
    except ValidationError as error:
        builder.problems += field_problems(error, RunSettings, "", values)
        return None
    if settings.question == "":  # such as question="$Q" with Q unset
        hint = "set question=TEXT, or omit it to run the question set"
        builder.problems.append(Problem("the question is empty", key="question", hint=hint))
    if not str(values.get("home") or "").strip():  # ${home}/store.sqlite would be in the root of the disk
        builder.problems.append(Problem("a folder is required", key="home", hint="home=FOLDER"))
    return settings


def _package(choice: str) -> str:
    """The top-level key that a choice fills: `model` for `model`, `judge` for `model@judge`."""
    group, _, package = choice.partition("@")
    return (package.removeprefix("_global_.") or group).partition(".")[0]


def _items(config: Mapping[str, Any], key: str, builder: Builder) -> list[tuple[str, Any]]:
    items = config.get(key) or {}
    if not isinstance(items, Mapping):
        builder.problems.append(Problem(f"must map names to components, got {items!r}", key=key))
        return []
    return [(str(name), item) for name, item in items.items()]


def _component(config: Any, key: str, kind: type[Part], expected: str, builder: Builder) -> Any:
    """A component of a kind; None if the config disables it, and after a problem."""
    if config is None:
        return None
    if not isinstance(config, Mapping) or TARGET not in config:
        builder.problems.append(not_a_component(config, key))
        return None
    part = builder.part(config, key)
    if part is None or isinstance(part, kind):
        return part
    builder.problems.append(Problem(f"must be {expected}, got {type(part).__name__}", key=key))
    return None


def _tracer(config: Any, key: str, builder: Builder) -> Part | None:
    part: Part | None = _component(config, key, Part, "a tracer", builder)
    if part is None or is_listener(part) or isinstance(part, Exporter):
        return part
    what = f"must be a tracer, got {type(part).__name__}"
    hint = (
        "define on(event) and close() to listen to the events of a run, or derive from Exporter to deliver its traces"
    )
    builder.problems.append(Problem(what, key=key, hint=hint))
    return None


def _stage(config: Any, key: str, builder: Builder) -> Stage | Composite | None:
    """A stage with the role of its config group; None if the config disables it, and after a problem."""
    before = len(builder.problems)
    part: Part | None = _component(config, key, Part, "a stage", builder)
    group = key.partition(".")[0]
    if part is None or (isinstance(part, Composite) and group != "evaluator"):
        return part
    if isinstance(part, Stage) and len(builder.problems) > before:
        return part  # an invalid field may change which slots it reads
    if isinstance(part, Stage):
        if not part.slot or part.slot in (part.reads if group == "guardrail" else (_SLOTS.get(group, part.slot),)):
            return part
        got = f"which writes {part.slot!r}"
    else:
        got = "which is not a stage"
    what = f"must be {_ROLES.get(group, 'a stage')}, got {type(part).__name__}, {got}"
    builder.problems.append(Problem(what, key=key))
    return None


def _without_repeats(unresolved: Sequence[Problem], built: Sequence[Problem]) -> list[Problem]:
    """The problems of unresolved values, and the problems of built components that do not follow from them."""
    unknown = {p.key for p in built if " has no field " in p.what or p.what.startswith("unknown key ")}
    if any(p.what == NO_FLOW for p in unresolved):
        built = [p for p in built if p.key != "stages"]
    own = [p for p in unresolved if not any(p.key == key or p.key.startswith(f"{key}.") for key in unknown)]
    return [*own, *(p for p in built if p.key in unknown or not any(_follows(p, o.key or "name") for o in own))]


def _follows(problem: Problem, key: str) -> bool:
    """Whether a problem concerns `key`, which has a problem already, or a key below it."""
    above, _, name = key.rpartition(".")
    below = problem.key == key or problem.key.startswith(f"{key}.")
    return below or (above != "" and problem.key == above and name in problem.what) or "'???'" in problem.what
