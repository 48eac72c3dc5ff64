"""The tracer of every run: finished records go to the local trace store before their answers are handed out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from llmops_flows.core.stage import Part
from llmops_flows.core.trace import Exporter
from llmops_flows.stores.salvage import misplaced
from llmops_flows.tracing.local import LocalTraces

if TYPE_CHECKING:
    from llmops_flows.tracing.shipper import Shipper
    from llmops_flows.tracing.trace_store import Elsewhere, TraceStore


class Local(Part):
    """Where traces are kept on this machine, and for how long. They are also what exporters deliver from.

    Attributes:
        path: a SQLite file.
        keep_days: traces that are older are removed now and then.
    """

    path: Path
    keep_days: float = Field(default=183, gt=0, allow_inf_nan=False)

    def problems(self) -> list[str]:
        return misplaced(self.path)

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        return {"class": type(self).__qualname__, **(self.model_dump(mode="json") if include_operational else {})}

    def open(self, elsewhere: Elsewhere | None = None) -> TraceStore:
        """The trace store. elsewhere: where values are found that were never at hand (the answer store)."""
        from llmops_flows.tracing.trace_store import TraceStore

        return TraceStore(self.path, elsewhere=elsewhere)

    def sink(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        choices: Mapping[str, str] | None = None,
        exporters: Mapping[str, Exporter] | None = None,
        shipper: Shipper | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> LocalTraces:
        """The listener of a runner.

        config: the config of its runs, as plain data. choices: config group to chosen option. exporters: who
        delivers its traces. shipper: sees to it that they do so beside the runs; without one they do so when
        somebody says `ship`.
        """
        store, days = self.open(elsewhere), self.keep_days
        return LocalTraces(store, config or {}, exporters or {}, shipper, choices=choices or {}, keep_days=days)
