"""The event sink that writes every finished record to the local trace store."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from llmops_flows.core import roles
from llmops_flows.core.events import Event
from llmops_flows.core.fingerprint import digest, encode
from llmops_flows.core.record import Record
from llmops_flows.core.stage import Stage
from llmops_flows.core.trace import Exporter, Kind, StageDescription, to_stored

if TYPE_CHECKING:  # sqlite3 is not loaded before the first run
    from .delivery_process import DeliveryProcess
    from .trace_store import RunRecord, TraceStore


_KINDS: tuple[tuple[type[Stage], Kind], ...] = (
    (roles.Retriever, "retriever"),
    (roles.Prompt, "prompt"),
    (roles.Model, "model"),
    (roles.Guardrail, "guardrail"),
    (roles.Evaluator, "evaluator"),
    (roles.Agent, "agent"),
)
_DAY = 86400.0


class TraceSink:
    """Writes the records of a run that finish together in one transaction, and wakes the process that delivers them.

    Args:
        store: the trace store.
        config: the config of runs whose events contain none, as plain data.
        exporters: the exporters that deliver the traces.
        process: delivers while runs are in progress; None: only `ship` delivers.
        choices: config group to chosen option, for runs whose events contain none.
        keep_days: age at which traces are removed.
    """

    lost: ClassVar[str] = "traces are not kept"

    def __init__(
        self,
        store: TraceStore,
        config: Mapping[str, Any],
        exporters: Mapping[str, Exporter],
        process: DeliveryProcess | None = None,
        *,
        choices: Mapping[str, str] | None = None,
        keep_days: float = 183,
    ) -> None:
        self.store = store
        self._process = process
        self._config = config
        self._choices = choices or {}
        self._exporters = exporters
        self._keep_days = keep_days
        self._prune_at = time.monotonic() + _DAY
        self._runs: dict[str, _OpenRun] = {}
        self._stages: dict[int, tuple[Stage, StageDescription]] = {}

    def on(self, event: Event) -> None:
        if event.kind == "run_started":
            self._start_run(event)
        elif event.run not in self._runs:
            return
        elif event.kind == "stage_started":
            self._runs[event.run].stages[event.stage] = self._describe(event.data["component"])
        elif event.kind == "record_finished" and event.record is not None:
            self._runs[event.run].add(event.record)
        elif event.kind == "run_finished":
            self._finish_run(self._runs.pop(event.run), event)

    def close(self) -> None:
        """Remove old traces, close the store, and signal the delivery process that no further traces follow."""
        self.store.prune(days=self._keep_days)
        self.store.close()
        if self._process is not None:
            self._process.close()

    def _describe(self, stage: Stage) -> StageDescription:
        """`about`, computed once for each component."""
        id_ = id(stage)
        if id_ not in self._stages or self._stages[id_][0] is not stage:
            self._stages[id_] = (stage, about(stage))
        return self._stages[id_][1]

    def _start_run(self, event: Event) -> None:
        from .trace_store import RunRecord

        plain = event.data.get("config") or self._config
        config = encode(plain)
        run = RunRecord(event.run, event.data["flow"], event.time, event.data["records"], config=digest(config))
        host = event.data.get("host")
        destinations = {n: e.destination(run.flow) for n, e in self._exporters.items() if e.delivers(host)}
        choices = event.data.get("choices") or self._choices
        self._runs[event.run] = _OpenRun(
            run,
            config,
            tuple(destinations),
            {
                "tenant": str(plain.get("tenant") or ""),
                "tags": [str(tag) for tag in plain.get("tags") or ()],
                "choices": {group: option for group, option in choices.items() if not group.startswith("hydra/")},
                "identity": event.data["identity"],
                "run": run.run,
                "flow": run.flow,
                "config": run.config,
                "started": run.started,
                "destinations": {name: dict(settings) for name, settings in destinations.items() if settings},
            },
        )
        if destinations and self._process is not None:
            self._process.start()
        if run.records > 1:
            self.store.begin(run)

    def _finish_run(self, open: _OpenRun, event: Event) -> None:
        run = replace(open.run, seconds=event.data["seconds"], interrupted=event.data["interrupted"])
        values = {**open.values, run.config: open.config}
        values |= {about.identity: about.described for about in open.stages.values()}
        self.store.add(run, open.traces, values, exporters=open.exporters)
        if open.exporters and self._process is not None:
            self._process.wake()
        if time.monotonic() > self._prune_at:
            self._prune_at = time.monotonic() + _DAY
            self.store.prune(days=self._keep_days)


@dataclass
class _OpenRun:
    """A run in progress, with the traces and values that are written when it finishes."""

    run: RunRecord
    config: bytes
    exporters: tuple[str, ...]
    about: Mapping[str, Any]
    stages: dict[str, StageDescription] = field(default_factory=dict)
    traces: list[dict[str, Any]] = field(default_factory=list)
    values: dict[str, bytes] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        self.traces.append(to_stored(record, self.stages, self.about))
        slots = [*record.given.values(), *record.slots.values()]
        slots += [slot for span in record.spans for slot in span.held]
        self.values.update({slot.address: slot.data for slot in slots if slot.loaded})


def about(stage: Stage) -> StageDescription:
    """The description of a stage in a trace: its kind, class, identity, and the settings that are plain values."""
    cls = type(stage)
    kind: Kind = next((name for base, name in _KINDS if isinstance(stage, base)), "stage")
    fields = ((name, getattr(stage, name)) for name in cls.model_fields)
    settings = {name: value for name, value in fields if isinstance(value, (str, int, float, bool))}
    name = f"{cls.__module__}.{cls.__qualname__}"
    return StageDescription(kind, name, stage.identity, stage.slot, settings, stage.described)
