"""The exit: which traces are kept and who delivers them, built from the `tracer` group of a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmops_flows.components.tracer.local import LocalTracer
from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.events import Sink
from llmops_flows.core.stage import Part
from llmops_flows.core.store import Store
from llmops_flows.core.trace import Exporter
from llmops_flows.stores.store_config import StoreConfig
from llmops_flows.tracing.delivery_process import DeliveryProcess
from llmops_flows.tracing.trace_store import TraceStore

from .builder import Builder
from .experiment import trusted_packages

_NEEDED = ("tracer", "store", "trust")


def sinks(
    config: Mapping[str, Any],
    tracers: Mapping[str, Part],
    store: Store | None,
    choices: Mapping[str, str] | None = None,
) -> list[Sink]:
    """The listeners that keep traces and have them delivered.

    store: where answers are kept. choices: config group to chosen option.
    """
    exporters = {name: part for name, part in tracers.items() if isinstance(part, Exporter)}
    process = DeliveryProcess({key: config.get(key) for key in _NEEDED}, exporters) if exporters else None
    read_values = store.values if store is not None else None
    return [
        part.sink(config, choices=choices, exporters=exporters, process=process, read_values=read_values)
        for part in tracers.values()
        if isinstance(part, LocalTracer)
    ]


def load_outbox(overrides: Sequence[str]) -> tuple[TraceStore, dict[str, Exporter]]:
    """The outbox and the exporters that overrides describe. Raises ConfigError with everything that is wrong."""
    from .compose import compose

    return open_outbox(compose(overrides).plain)


def open_outbox(config: Mapping[str, Any]) -> tuple[TraceStore, dict[str, Exporter]]:
    """The outbox and the exporters of a resolved config; no other part of it is built.

    Raises:
        ConfigError: an exporter is set up wrongly, or no traces are kept.
    """
    builder = Builder(trusted=trusted_packages(config))
    parts = {str(n): builder.value(c, f"tracer.{n}") for n, c in (config.get("tracer") or {}).items()}
    answers = builder.value(config.get("store"), "store")
    builder.done()
    local = next((part for part in parts.values() if isinstance(part, LocalTracer)), None)
    if local is None:
        raise ConfigError(Problem("no traces are kept", key="tracer", hint="tracer=[local]"))
    read_values = answers.open().values if isinstance(answers, StoreConfig) else None
    return local.open(read_values), {n: part for n, part in parts.items() if isinstance(part, Exporter)}
