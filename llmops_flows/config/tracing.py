"""Tracers of a config: listeners to the events of a run, the local trace store, exporters that deliver from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_flows.components.tracer.local import LocalTracer
from llmops_flows.core.events import Sink
from llmops_flows.core.stage import Part
from llmops_flows.core.store import Store
from llmops_flows.core.trace import Exporter
from llmops_flows.tracing.delivery_process import DeliveryProcess

_NEEDED = ("tracer", "store", "trust")


def is_listener(part: Part) -> bool:
    """Whether a tracer listens to the events of a run. An exporter does not: it delivers finished traces later."""
    return isinstance(part, (LocalTracer, Sink))


def tracer_fields(part: Part) -> dict[str, Any]:
    """The class and the fields of a tracer as plain data. Unlike a fingerprint, it reads no file that a field names."""
    return {"class": type(part).__qualname__, **part.model_dump(mode="json")}


def sinks(
    config: Mapping[str, Any],
    tracers: Mapping[str, Part],
    store: Store | None,
    choices: Mapping[str, str] | None = None,
) -> list[Sink]:
    """The listeners of one runner.

    Args:
        store: the answer store.
        choices: config group to the option chosen from it.
    """
    exporters = {name: part for name, part in tracers.items() if isinstance(part, Exporter)}
    process = DeliveryProcess({key: config.get(key) for key in _NEEDED}, exporters) if exporters else None
    read_values = store.values if store is not None else None
    listeners: list[Sink] = []
    for part in tracers.values():
        if isinstance(part, LocalTracer):
            traces = part.sink(config, choices=choices, exporters=exporters, process=process, read_values=read_values)
            listeners.append(traces)
        elif isinstance(part, Sink):
            listeners.append(type(part)(**dict(part)))  # a new instance, since a runner closes its listeners
    return listeners
