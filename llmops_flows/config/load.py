"""From a name to something that runs: `load_flow` for apps, `opened` for the command line."""

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
    """A flow as a LangChain Runnable, with parts swapped by overrides as on the command line.

    Example: `load_flow("rag_support", "model=openai", "retriever.k=8")`. Evaluators do not run. A pickle of it holds
    its config; whoever reads the pickle loads models of his own, with keys from his own environment.

    Raises:
        ConfigError: with everything that is wrong with the config.
        MissingExtra: LangChain is not installed.
    """
    from llmops_flows.artifacts.lazy_import import load

    from .compose import compose

    load("langchain_core", "langchain", "load_flow")
    for given in (name, *overrides):
        if not isinstance(given, str):
            hint = 'each stands by itself: load_flow("rag_support", "model=echo", "retriever.k=8")'
            raise ConfigError(Problem(f"flow and overrides are texts, and {given!r:.60} is none", hint=hint))
    return _runnable(compose((f"flow={name}", *overrides)))


def _runnable(composed: Composed) -> FlowRunnable:
    from llmops_flows.integrations.langchain.runnable import FlowRunnable

    experiment = build_experiment(composed)
    return FlowRunnable(experiment.flow, make_runner(experiment), lambda: (_again, _pickled(composed)))


def _pickled(composed: Composed) -> tuple[Any, ...]:
    """What a pickle of a loaded flow holds: its config as it is written, whose references each reader resolves.

    Raises:
        ConfigError: the config holds a key in clear.
    """
    from llmops_flows.core.fingerprint import encode
    from llmops_flows.core.redaction import has_secret

    if has_secret(encode(composed.raw)):
        hint = "put it into an environment variable and name the variable: model.api_key_env=MY_KEY"
        raise ConfigError(Problem("the config holds what looks like a key, which no pickle is to hold", hint=hint))
    return composed.raw, composed.overrides, composed.choices


def _again(raw: dict[str, Any], overrides: tuple[str, ...], choices: dict[str, str]) -> FlowRunnable:
    """A loaded flow from its pickle."""
    from omegaconf import OmegaConf

    from .composition.composed import Composed
    from .composition.resolvers import register_resolvers

    register_resolvers()
    return _runnable(Composed(OmegaConf.create(raw), overrides, choices))


def load_experiment(*overrides: str, owner: bool = False) -> Experiment:
    """The experiment that overrides describe. Raises ConfigError with everything that is wrong.

    `owner`: the overrides come from the command line itself, which alone may set `hydra.*`.
    """
    from .compose import compose

    return build_experiment(compose(overrides, owner=owner))


def make_runner(experiment: Experiment, sinks: Sequence[Sink] = ()) -> Runner:
    """A runner for an experiment, with its store and its tracers."""
    from llmops_flows.engine.runner import Runner

    from . import budget, tracing
    from .checks import unwritable_folders

    store: Any = experiment.store.open() if isinstance(experiment.store, StoreConfig) else None
    running = Runner(
        store=store,
        home=experiment.settings.home,
        sinks=[*tracing.sinks(experiment.config, experiment.tracers, store, experiment.choices), *sinks],
        cache=experiment.cache,
        tenant=experiment.settings.tenant,
        budget_meter=budget.budget_meter(experiment, store),
    )
    unwritable_folders.warn_about_unwritable_folders(experiment, running)
    return running


@contextmanager
def open_runner(experiment: Experiment, sinks: Sequence[Sink] = ()) -> Iterator[tuple[Runner, Flow]]:
    """A runner and its flow; everything is closed at the end."""
    with make_runner(experiment, sinks) as running:
        try:
            yield running, experiment.flow
        finally:
            for sink in running.sinks:
                _close(sink, running)
            if running.context.vectors is not None:
                running.context.vectors.close()


def _close(sink: Sink, running: Runner) -> None:
    """A sink that cannot end well is told like one that cannot listen: the answers stand."""
    try:
        sink.close()
    except Exception as error:
        running.report(sink, error)
