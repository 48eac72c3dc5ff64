"""Small real runs with a store and traces, for the tests of traces and replays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmops_flows import Flow, Record, Runner
from llmops_flows.components.cache.exact import ExactCache
from llmops_flows.components.tracer.local import LocalTracer
from llmops_flows.core.cache_policy import CachePolicy
from llmops_flows.report import run_files
from llmops_flows.report.cache_misses import MAX_EARLIER_TRACES, StageMisses, explain_misses
from llmops_flows.report.summary import summarize
from llmops_flows.stores.sqlite_store import SQLiteStore
from llmops_flows.tracing.trace_store import TraceStore
from tests.support.stub_stages import Length, question_records, rag_flow


@dataclass
class RecordedRuns:
    """A folder with an answer store and a trace store; runs leave their results in folders below it."""

    folder: Path
    runs: list[str] = field(default_factory=list)

    @property
    def store(self) -> SQLiteStore:
        return SQLiteStore(self.folder / "store.sqlite")

    @property
    def traces(self) -> TraceStore:
        return TraceStore(self.folder / "traces.sqlite", read_values=self.store.values)

    def run(
        self,
        flow: Flow | None = None,
        records: list[Record] | None = None,
        *,
        cache: CachePolicy | None = None,
        tenant: str = "",
        traced: bool = True,
    ) -> Path:
        """Run a flow; the folder of its results."""
        name = f"run{len(self.runs)}"
        flow, records = flow or rag_flow(), question_records("why?", "who?") if records is None else records
        cache = cache or ExactCache()
        target = f"{type(cache).__module__}.{type(cache).__qualname__}"
        settings = {"_target_": target, **cache.model_dump()}
        config: dict[str, Any] = {"cache": settings, "tenant": tenant, "name": "rag"}
        sink = LocalTracer(path=self.folder / "traces.sqlite").sink(config, read_values=self.store.values)
        with Runner(store=self.store, sinks=[sink] if traced else [], cache=cache, tenant=tenant) as runner:
            runner.run(flow, records, evaluators={"length": Length()}, run=f"{name:0<32}", config=config)
        sink.close()
        self.runs.append(f"{name:0<32}")
        run_files.write_run(self.folder / name, records, {"run": self.runs[-1], **summarize(records)}, config)
        return self.folder / name

    def misses(self, run: int = -1) -> Mapping[str, StageMisses]:
        """Why the stages of a run computed."""
        traces, run_id = self.traces, self.runs[run]
        stored = [one for one in traces.stored(run_id).values() if one is not None]
        return {
            told.stage: told
            for told in explain_misses(stored, traces.before(run_id, MAX_EARLIER_TRACES), traces.contents)
        }
