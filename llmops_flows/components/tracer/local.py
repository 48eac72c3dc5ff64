"""`tracer=local`: finished records are written to the local trace store before their answers are returned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from llmops_flows.core.stage import Part
from llmops_flows.core.trace import Exporter
from llmops_flows.stores.sqlite_repair import path_problems
from llmops_flows.tracing.trace_sink import TraceSink

if TYPE_CHECKING:  # loaded when the store is opened
    from llmops_flows.tracing.delivery_process import DeliveryProcess
    from llmops_flows.tracing.trace_store import ReadValues, TraceStore


class LocalTracer(Part):
    """The local trace store, which is also the outbox that exporters deliver from.

    Attributes:
        path: a SQLite file.
        keep_days: age in days at which traces are removed.
    """

    path: Path
    keep_days: float = Field(default=183, gt=0, allow_inf_nan=False)

    def problems(self) -> list[str]:
        return path_problems(self.path)

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        return {"class": type(self).__qualname__, **(self.model_dump(mode="json") if include_operational else {})}

    def open(self, read_values: ReadValues | None = None) -> TraceStore:
        """The trace store. `read_values` reads values that only the answer store holds."""
        from llmops_flows.tracing.trace_store import TraceStore

        return TraceStore(self.path, read_values=read_values)

    def sink(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        choices: Mapping[str, str] | None = None,
        exporters: Mapping[str, Exporter] | None = None,
        process: DeliveryProcess | None = None,
        read_values: ReadValues | None = None,
    ) -> TraceSink:
        """The sink of a runner. See `TraceSink` for the arguments."""
        store, days = self.open(read_values), self.keep_days
        return TraceSink(store, config or {}, exporters or {}, process, choices=choices or {}, keep_days=days)
