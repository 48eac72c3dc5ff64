"""From a name to something that runs: `load_flow` for apps, `opened` for the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import ConfigError, Fault
from llmops_flows.core.events import Sink
from llmops_flows.core.flow import Flow
from llmops_flows.stores.config import StoreConfig

from .compose import NO_FLOW
from .experiment import Experiment, build

if TYPE_CHECKING:
    from llmops_flows.core.runner import Runner
    from llmops_flows.integrations.langchain.runnable import FlowRunnable

    from .compose import Composed


def load_flow(name: str, *overrides: str) -> FlowRunnable:
    """A flow as a LangChain Runnable, with parts swapped by overrides as on the command line.

    Example: `load_flow("rag_support", "model=openai", "retriever.k=8")`. Evaluators do not run. A pickle of it holds
    its config; whoever reads the pickle loads models of his own, with keys from his own environment.

    Raises:
        ConfigError: with everything that is wrong with the config.
        MissingExtra: LangChain is not installed.
    """
    from llmops_flows.integrations.lazy import load

    from .compose import compose

    load("langchain_core", "langchain", "load_flow")
    for given in (name, *overrides):
        if not isinstance(given, str):
            mend = 'each stands by itself: load_flow("rag_support", "model=echo", "retriever.k=8")'
            raise ConfigError(Fault(f"flow and overrides are texts, and {given!r:.60} is none", mend=mend))
    return _runnable(compose((f"flow={name}", *overrides)))


def _runnable(composed: Composed) -> FlowRunnable:
    from llmops_flows.integrations.langchain.runnable import FlowRunnable

    experiment = assembled(composed)
    return FlowRunnable(experiment.flow, runner(experiment), lambda: (_again, _pickled(composed)))


def _pickled(composed: Composed) -> tuple[Any, ...]:
    """What a pickle of a loaded flow holds: its config as it is written, whose references each reader resolves.

    Raises:
        ConfigError: the config holds a key in clear.
    """
    from llmops_flows.core.fingerprint import encode
    from llmops_flows.core.secrets import has_secret

    if has_secret(encode(composed.raw)):
        mend = "put it into an environment variable and name the variable: model.api_key_env=MY_KEY"
        raise ConfigError(Fault("the config holds what looks like a key, which no pickle is to hold", mend=mend))
    return composed.raw, composed.overrides, composed.choices


def _again(raw: dict[str, Any], overrides: tuple[str, ...], choices: dict[str, str]) -> FlowRunnable:
    """A loaded flow from its pickle."""
    from omegaconf import OmegaConf

    from .compose import Composed, register

    register()
    return _runnable(Composed(OmegaConf.create(raw), overrides, choices))


def load_experiment(*overrides: str, owner: bool = False) -> Experiment:
    """The experiment that overrides describe. Raises ConfigError with everything that is wrong.

    `owner`: the overrides come from the command line itself, which alone may set `hydra.*`.
    """
    from .compose import compose

    return assembled(compose(overrides, owner=owner))


def assembled(composed: Composed) -> Experiment:
    """The experiment of a composed config.

    Raises:
        ConfigError: with every value that is missing or leads nowhere, and everything that is wrong with the rest;
            each fault says in which file and line, or by which override, its key was set.
    """
    from .faults import located
    from .idle import untaken

    config, faults = composed.loose
    faults = [*faults, *untaken(composed)]
    try:
        experiment = build(config, names=composed.names)
    except ConfigError as error:
        faults = _sorted(faults, error.faults)
    if faults:
        raise ConfigError(located(faults, composed))
    return replace(experiment, choices=composed.choices)


def _sorted(unresolved: Sequence[Fault], built: Sequence[Fault]) -> list[Fault]:
    """The faults of values that are missing or lead nowhere, and of what was built: no place twice."""
    unknown = {f.key for f in built if " has no field " in f.what or f.what.startswith("there is no key ")}
    if any(f.what == NO_FLOW for f in unresolved):
        built = [f for f in built if f.key != "stages"]
    own = [f for f in unresolved if not any(f.key == key or f.key.startswith(f"{key}.") for key in unknown)]
    return [*own, *(f for f in built if f.key in unknown or not any(_same(f, g.key or "name") for g in own))]


def _same(fault: Fault, key: str) -> bool:
    """Whether a fault is about a key that is wrong anyway, or about what lies in it."""
    above, _, name = key.rpartition(".")
    below = fault.key == key or fault.key.startswith(f"{key}.")
    return below or (above != "" and fault.key == above and name in fault.what) or "'???'" in fault.what


def runner(experiment: Experiment, sinks: Sequence[Sink] = ()) -> Runner:
    """A runner for an experiment, with its store and its tracers."""
    from llmops_flows.core.runner import Runner

    from . import spending, tracing, writable

    store: Any = experiment.store.open() if isinstance(experiment.store, StoreConfig) else None
    running = Runner(
        store=store,
        home=experiment.settings.home,
        sinks=[*tracing.sinks(experiment.config, experiment.tracers, store, experiment.choices), *sinks],
        cache=experiment.cache,
        tenant=experiment.settings.tenant,
        purse=spending.purse(experiment, store),
    )
    writable.tell(experiment, running)
    return running


@contextmanager
def opened(experiment: Experiment, sinks: Sequence[Sink] = ()) -> Iterator[tuple[Runner, Flow]]:
    """A runner and its flow; everything is closed at the end."""
    with runner(experiment, sinks) as running:
        try:
            yield running, experiment.flow
        finally:
            for sink in running.sinks:
                _close(sink, running)
            if running.vectors is not None:
                running.vectors.close()


def _close(sink: Sink, running: Runner) -> None:
    """A sink that cannot end well is told like one that cannot listen: the answers stand."""
    try:
        sink.close()
    except Exception as error:
        running.report(sink, error)
