"""From a name to something that runs: `load_flow` for apps, `opened` for the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llmops_flows.core.events import Sink
from llmops_flows.core.flow import Flow
from llmops_flows.core.runner import Runner

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
    store: Any = experiment.store
    tracers: list[Any] = list(experiment.tracers.values())
    listening = [tracer.sink() for tracer in tracers if hasattr(tracer, "sink")]
    return Runner(
        store=store.open() if store is not None else None,
        home=experiment.settings.home,
        sinks=[*listening, *sinks],
        cache=experiment.cache,
        tenant=experiment.settings.tenant,
    )


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
