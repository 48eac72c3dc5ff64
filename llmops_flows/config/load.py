"""Load a flow by its name: `load_flow` for applications, `load_experiment` and `open_runner` for the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.events import Sink
from llmops_flows.core.flow import Flow
from llmops_flows.stores.store_config import StoreConfig

from .experiment import Experiment, build_experiment

if TYPE_CHECKING:
    from llmops_flows.engine.runner import Runner
    from llmops_flows.integrations.langchain.runnable import FlowRunnable

    from .composition.composed import Composed


def load_flow(name: str, *overrides: str) -> FlowRunnable:
    """A flow as a LangChain Runnable, configured by overrides as on the command line.

    Example: `load_flow("rag_support", "model=openai", "retriever.k=8")`. Evaluators do not run. A pickle of the flow
    contains its config; the process that reads it loads its own models, with keys from its own environment.

    Raises:
        ConfigError: with every problem of the config.
        MissingExtra: LangChain is not installed.
    """
    from llmops_flows.artifacts.lazy_import import load

    from .compose import compose

    load("langchain_core", "langchain", "load_flow")
    for argument in (name, *overrides):
        if not isinstance(argument, str):
            hint = 'pass each override by itself: load_flow("rag_support", "model=echo", "retriever.k=8")'
            raise ConfigError(Problem(f"flow and overrides must be strings, got {argument!r:.60}", hint=hint))
    return _runnable(compose((f"flow={name}", *overrides)))


def _runnable(composed: Composed) -> FlowRunnable:
    from llmops_flows.integrations.langchain.runnable import FlowRunnable

    experiment = build_experiment(composed)
    return FlowRunnable(experiment.flow, make_runner(experiment), lambda: (_unpickle, _pickle(composed)))


def _pickle(composed: Composed) -> tuple[Any, ...]:
    """The content of a flow's pickle: its unresolved config, so that each reader resolves the references.

    Raises:
        ConfigError: the config contains a secret in plain text.
    """
    from llmops_flows.core.fingerprint import encode
    from llmops_flows.core.redaction import has_secret

    if has_secret(encode(composed.raw)):
        hint = "put it into an environment variable and name the variable: model.api_key_env=MY_KEY"
        raise ConfigError(Problem("a config with a secret cannot be pickled", hint=hint))
    return composed.raw, composed.overrides, composed.choices


def _unpickle(raw: dict[str, Any], overrides: tuple[str, ...], choices: dict[str, str]) -> FlowRunnable:
    """The flow of a pickle."""
    from omegaconf import OmegaConf

    from .composition.composed import Composed
    from .composition.resolvers import register_resolvers

    register_resolvers()
    return _runnable(Composed(OmegaConf.create(raw), overrides, choices))


def load_experiment(*overrides: str, owner: bool = False) -> Experiment:
    """The experiment that overrides describe. Raises ConfigError with every problem.

    `owner`: the owner of the process typed the overrides; only then may they set `hydra.*`.
    """
    from .compose import compose

    return build_experiment(compose(overrides, owner=owner))


def make_runner(experiment: Experiment, sinks: Sequence[Sink] = ()) -> Runner:
    """A runner for an experiment, with its store and its tracers."""
    from llmops_flows.engine.runner import Runner

    from . import run_budget, tracing
    from .checks import unwritable_folders

    store: Any = experiment.store.open() if isinstance(experiment.store, StoreConfig) else None
    runner = Runner(
        store=store,
        home=experiment.settings.home,
        sinks=[*tracing.sinks(experiment.config, experiment.tracers, store, experiment.choices), *sinks],
        cache=experiment.cache,
        tenant=experiment.settings.tenant,
        budget_meter=run_budget.budget_meter(experiment, store),
    )
    unwritable_folders.warn_about_unwritable_folders(experiment, runner)
    return runner


@contextmanager
def open_runner(experiment: Experiment, sinks: Sequence[Sink] = ()) -> Iterator[tuple[Runner, Flow]]:
    """A runner and its flow; everything is closed at the end."""
    with make_runner(experiment, sinks) as runner:
        try:
            yield runner, experiment.flow
        finally:
            for sink in runner.sinks:
                _close(sink, runner)
            if runner.context.vectors is not None:
                runner.context.vectors.close()


def _close(sink: Sink, runner: Runner) -> None:
    """Close a sink. An error is reported like one in `on`: the answers are not affected."""
    try:
        sink.close()
    except Exception as error:
        runner.report(sink, error)
