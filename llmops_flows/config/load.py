"""From a name to something that runs: `load_flow` for apps, `opened` for the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llmops_flows.core.events import Sink
from llmops_flows.core.flow import Flow
from llmops_flows.core.runner import Runner
from llmops_flows.core.store import Store
from llmops_flows.core.trace import Exporter
from llmops_flows.sinks.local import Local
from llmops_flows.stores.config import StoreConfig

from .experiment import Experiment, build

if TYPE_CHECKING:
    from llmops_flows.integrations.langchain.runnable import FlowRunnable


def load_flow(name: str, *overrides: str) -> FlowRunnable:
    """A flow as a LangChain Runnable, with parts swapped by overrides as on the command line.

    Example: `load_flow("rag_support", "model=openai", "retriever.k=8")`. Evaluators do not run.

    Raises:
        ConfigError: with everything that is wrong with the config.
        MissingExtra: LangChain is not installed.
    """
    from llmops_flows.integrations.lazy import load

    load("langchain_core", "langchain", "load_flow")
    from llmops_flows.integrations.langchain.runnable import FlowRunnable

    experiment = load_experiment(f"flow={name}", *overrides)
    return FlowRunnable(experiment.flow, runner(experiment))


def load_experiment(*overrides: str) -> Experiment:
    """The experiment that overrides describe. Raises ConfigError with everything that is wrong."""
    from .compose import compose

    composed = compose(overrides)
    return build(composed.plain, names=composed.names)


def runner(experiment: Experiment, sinks: Sequence[Sink] = ()) -> Runner:
    """A runner for an experiment, with its store and its tracers."""
    store: Any = experiment.store.open() if isinstance(experiment.store, StoreConfig) else None
    return Runner(
        store=store,
        home=experiment.settings.home,
        sinks=[*_tracing(experiment, store), *sinks],
        cache=experiment.cache,
        tenant=experiment.settings.tenant,
    )


def _tracing(experiment: Experiment, store: Store | None) -> list[Sink]:
    """The listeners that keep traces; exporters deliver from there."""
    exporters = {name: part for name, part in experiment.tracers.items() if isinstance(part, Exporter)}
    keepers = [part for part in experiment.tracers.values() if isinstance(part, Local)]
    elsewhere = store.values if store is not None else None
    return [part.sink(experiment.config, exporters=exporters, elsewhere=elsewhere) for part in keepers]


@contextmanager
def opened(experiment: Experiment, sinks: Sequence[Sink] = ()) -> Iterator[tuple[Runner, Flow]]:
    """A runner and its flow; everything is closed at the end."""
    with runner(experiment, sinks) as running:
        try:
            yield running, experiment.flow
        finally:
            for sink in running.sinks:
                sink.close()
            if running.vectors is not None:
                running.vectors.close()
