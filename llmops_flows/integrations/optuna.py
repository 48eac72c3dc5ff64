"""Optuna studies, which propose the points of a search and store the results."""

from __future__ import annotations

import hashlib
import inspect
import itertools
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.core.errors import ConfigError, Problem, StoreError
from llmops_flows.core.redaction import redact, redact_value
from llmops_flows.text.suggestions import did_you_mean

EXTRA = "optuna"
SAMPLERS = {"tpe": "TPESampler", "random": "RandomSampler", "nsga2": "NSGAIISampler", "cmaes": "CmaEsSampler"}
GRID = "grid"
"""Every point in order; implemented here, since Optuna's grid sampler needs Optuna's own loop."""
ParameterValue = str | int | float
DONE, FAILED, PRUNED, WAITING = "done", "failed", "left out", "waiting"


@dataclass(frozen=True)
class SearchParameter:
    """A parameter of a search.

    Attributes:
        name: the config key that it sets; comma-separated keys if axes vary together.
        steps: text of a value to the overrides that set it, in order; empty for an interval.
        numbers: minimum and maximum of a number; None for a choice.
        step: distance between two values; None for a continuous interval.
        log: search on a logarithmic scale.
    """

    name: str
    steps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: tuple[float, float] | tuple[int, int] | None = None
    step: float | int | None = None
    log: bool = False

    @property
    def sample_values(self) -> list[ParameterValue]:
        """Values that check the parameter: each choice, or minimum and maximum."""
        return list(dict.fromkeys(self.numbers)) if self.numbers is not None else list(self.steps)

    @property
    def is_integer(self) -> bool:
        """Whether its values are integers."""
        return self.numbers is not None and all(isinstance(end, int) for end in self.numbers)

    @property
    def values(self) -> list[ParameterValue] | None:
        """All values in order; None for a continuous interval."""
        if self.numbers is None:
            return list(self.steps)
        if self.is_integer:
            return list(range(int(self.numbers[0]), int(self.numbers[1]) + 1, int(self.step or 1)))
        return [float(text) for text in self.steps] or None

    def overrides(self, value: ParameterValue) -> tuple[str, ...]:
        """The overrides that set a value."""
        if self.numbers is None:
            return self.steps[str(value)]
        if not self.steps:
            return (f"{self.name}={int(value) if self.is_integer else float(value)!r}",)
        return self.steps[min(self.steps, key=lambda text: abs(float(text) - float(value)))]


@dataclass(frozen=True)
class StudyTrial:
    """A trial of a study.

    Attributes:
        number: its position in the study.
        values: name of each parameter to its value.
        state: DONE, FAILED, PRUNED (excluded by a constraint) or WAITING (proposed, without a result).
        figures: the value of each objective; () unless it is DONE.
        notes: plain data that is stored with it.
    """

    number: int
    values: Mapping[str, ParameterValue]
    state: str
    figures: tuple[float, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyPlan:
    """How trials are proposed. `directions`: whether each objective is maximized. The rest: see the settings."""

    parameters: Sequence[SearchParameter]
    directions: Sequence[bool]
    sampler: str = "tpe"
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = 0
    generation: int = 50


class OptunaStudy:
    """A new or existing study in an Optuna storage.

    Raises:
        ConfigError: the sampler is unknown or does not fit the search, or the study belongs to another search.
        MissingExtra: Optuna is not installed.
        StoreError: the storage cannot be opened.
    """

    def __init__(self, name: str, storage: str, plan: StudyPlan, about: Mapping[str, str]) -> None:
        self._optuna = load("optuna", EXTRA, "hydra/sweeper=optuna")
        self._optuna.logging.set_verbosity(self._optuna.logging.ERROR)
        self._plan = plan
        self._sampler(0)
        directions = ["maximize" if maximize else "minimize" for maximize in plan.directions]
        try:
            self._storage = _open_storage(self._optuna, storage)
            self._study = self._optuna.create_study(
                study_name=name, storage=self._storage, directions=directions, load_if_exists=True
            )
        except Exception as error:  # each database has its own exceptions
            raise StoreError(redact(f"the study cannot be stored in {storage!r}: {error}")) from error
        self._check_search(about)
        self._ids: dict[int, int] = {}
        self._spaces = {parameter.name: self._distribution(parameter) for parameter in plan.parameters}

    def close(self) -> None:
        """Close the storage."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    @property
    def name(self) -> str:
        return str(self._study.study_name)

    @property
    def trials(self) -> list[StudyTrial]:
        """Every trial that has a value for each parameter, in order."""
        trials = (self._trial(frozen) for frozen in self._study.get_trials(deepcopy=False))
        return [trial for trial in trials if trial.values.keys() == self._spaces.keys()]

    @property
    def best_numbers(self) -> list[int]:
        """The numbers of the Pareto-optimal trials; [] before the first one is done."""
        if not any(trial.state == DONE for trial in self.trials):
            return []
        return sorted(trial.number for trial in self._study.best_trials if "same_as" not in trial.user_attrs)

    def ask(self) -> StudyTrial:
        """The next trial, determined by the seed and all earlier trials. Points repeat after the end of a grid."""
        if self._plan.sampler == GRID:
            self._next_of_grid()
        number = len(self._study.get_trials(deepcopy=False))
        self._study.sampler = self._sampler(number)
        with _no_warnings():
            trial = self._study.ask(self._spaces)
        self._ids[trial.number] = trial._trial_id
        return StudyTrial(trial.number, dict(trial.params), WAITING)

    def enqueue(self, trial: StudyTrial) -> None:
        """Propose the values of a trial again."""
        with _no_warnings():
            self._study.enqueue_trial(dict(trial.values))

    def complete(self, number: int, figures: Sequence[float]) -> None:
        self._study.tell(number, list(figures), skip_if_finished=True)

    def fail(self, number: int) -> None:
        self._study.tell(number, state=self._optuna.trial.TrialState.FAIL, skip_if_finished=True)

    def prune(self, number: int) -> None:
        """Mark a trial as excluded by a constraint, so that the sampler avoids such points."""
        self._study.tell(number, state=self._optuna.trial.TrialState.PRUNED, skip_if_finished=True)

    def add_note(self, number: int, name: str, value: Any) -> None:
        """Store plain data with a waiting trial, with secrets masked; a finished trial is unchanged."""
        id = self._ids.get(number) or self._study.get_trials(deepcopy=False)[number]._trial_id
        try:
            self._study._storage.set_trial_user_attr(id, name, redact_value(value))
        except self._optuna.exceptions.UpdateFinishedTrialError:
            pass

    def _trial(self, frozen: Any) -> StudyTrial:
        states = {"COMPLETE": DONE, "FAIL": FAILED, "PRUNED": PRUNED}
        state = states.get(frozen.state.name, WAITING)
        figures = tuple(frozen.values) if state == DONE else ()
        return StudyTrial(frozen.number, dict(frozen.params), state, figures, dict(frozen.user_attrs))

    def _check_search(self, about: Mapping[str, str]) -> None:
        """All points of a study must have the same pipeline, search space and objectives."""
        stored = self._study.user_attrs
        different = [name for name, value in about.items() if stored.get(name, value) != value]
        if different:
            what = f"the study {self.name!r} belongs to another search: different {' and '.join(different)}"
            hint = "choose another study_name, or null to derive the name from the search"
            raise ConfigError(Problem(what, "hydra.sweeper.study_name", hint=hint))
        for name, value in about.items():
            if name not in stored:
                self._study.set_user_attr(name, value)

    def _distribution(self, parameter: SearchParameter) -> Any:
        kinds = self._optuna.distributions
        if parameter.numbers is None:
            return kinds.CategoricalDistribution(list(parameter.steps))
        low, high = parameter.numbers
        if parameter.is_integer:
            return kinds.IntDistribution(int(low), int(high), log=parameter.log, step=int(parameter.step or 1))
        return kinds.FloatDistribution(float(low), float(high), log=parameter.log, step=parameter.step)

    def _sampler(self, number: int) -> Any:
        """The sampler of a trial. Each trial gets a new sampler, so that an interrupted search resumes identically."""
        plan = self._plan
        if plan.sampler == GRID:
            return self._optuna.samplers.RandomSampler()
        _check(self._optuna, plan)
        options = {**_defaults(plan), **plan.options}
        if plan.seed is not None:
            options["seed"] = int.from_bytes(hashlib.sha256(f"{plan.seed}/{number}".encode()).digest()[:4], "big")
        try:
            with _no_warnings():
                return getattr(self._optuna.samplers, SAMPLERS[plan.sampler])(**options)
        except (TypeError, ValueError, AssertionError) as error:
            raise ConfigError(Problem(str(error), "hydra.sweeper.sampler_options")) from None

    def _next_of_grid(self) -> None:
        tried = {tuple(trial.values[name] for name in self._spaces) for trial in self.trials}
        for values in _grid(self._plan.parameters):
            if values not in tried:
                with _no_warnings():
                    self._study.enqueue_trial(dict(zip(self._spaces, values, strict=True)))
                return


def _check(optuna: Any, plan: StudyPlan) -> None:
    if plan.sampler not in SAMPLERS:
        hint = did_you_mean(plan.sampler, [*SAMPLERS, GRID])
        raise ConfigError(Problem(f"unknown sampler {plan.sampler!r}", "hydra.sweeper.sampler", hint=hint))
    if plan.sampler == "cmaes":
        if len(plan.directions) > 1:
            hint = "sampler=tpe or nsga2, or one objective"
            raise ConfigError(Problem("cmaes supports one objective only", "hydra.sweeper.sampler", hint=hint))
        load("cmaes", EXTRA, "hydra.sweeper.sampler=cmaes")
    known = [n for n in inspect.signature(getattr(optuna.samplers, SAMPLERS[plan.sampler])).parameters if n != "seed"]
    problems = [
        Problem(f"the sampler {plan.sampler} has no option {n!r}", f"hydra.sweeper.sampler_options.{n}",
              hint="hydra.sweeper.seed=NUMBER" if n == "seed" else did_you_mean(n, known))
        for n in plan.options if n not in known
    ]  # fmt: skip
    if problems:
        raise ConfigError(problems)


def _defaults(plan: StudyPlan) -> dict[str, Any]:
    defaults: dict[str, dict[str, Any]] = {
        "tpe": {"constant_liar": True},  # spreads the points of a batch
        "nsga2": {"population_size": plan.generation},
        "cmaes": {"warn_independent_sampling": False},
    }
    return defaults.get(plan.sampler, {})


def _grid(parameters: Sequence[SearchParameter]) -> Iterator[tuple[ParameterValue, ...]]:
    for parameter in parameters:
        if parameter.values is None:
            hint = "list its values: range(START,STOP,STEP) or a,b,c; or use another sampler"
            raise ConfigError(Problem("a grid needs a finite number of values", parameter.name, hint=hint))
    return itertools.product(*(parameter.values or () for parameter in parameters))


def _open_storage(optuna: Any, storage: str) -> Any:
    """A storage at a database URL, or in a SQLite file."""
    if "://" in storage:
        return optuna.storages.RDBStorage(storage)
    path = Path(storage).expanduser().absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    return optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"creator": lambda: _connect(path)})


def _connect(path: Path) -> sqlite3.Connection:
    """A connection that waits for other processes. Commits survive a killed process, not a power failure."""
    connection = sqlite3.connect(path, timeout=60, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Hide Optuna's warnings about experimental features."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
