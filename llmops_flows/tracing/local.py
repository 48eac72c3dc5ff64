"""The sink that writes every finished record to the local trace store."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from llmops_flows.core import roles
from llmops_flows.core.events import Event
from llmops_flows.core.fingerprint import digest, encode
from llmops_flows.core.record import Record
from llmops_flows.core.stage import Stage
from llmops_flows.core.trace import Exporter, Kind, StageDescription, to_stored

if TYPE_CHECKING:
    from .shipper import Shipper
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


class LocalTraces:
    """A sink that keeps every finished record: those of a run that finish together, in one transaction."""

    lost: ClassVar[str] = "traces are not kept"

    def __init__(
        self,
        store: TraceStore,
        config: Mapping[str, Any],
        exporters: Mapping[str, Exporter],
        shipper: Shipper | None = None,
        *,
        choices: Mapping[str, str] | None = None,
        keep_days: float = 183,
    ) -> None:
        self.store = store
        self.shipper = shipper
        self._config = config
        self._choices = choices or {}
        self._exporters = exporters
        self._keep_days = keep_days
        self._prune_at = time.monotonic() + _DAY
        self._open: dict[str, _Open] = {}
        self._stages: dict[int, tuple[Stage, StageDescription]] = {}

    def on(self, event: Event) -> None:
        if event.kind == "run_started":
            self._begin(event)
        elif event.run not in self._open:
            return
        elif event.kind == "stage_started":
            self._open[event.run].stages[event.stage] = self._stage(event.data["component"])
        elif event.kind == "record_finished" and event.record is not None:
            self._open[event.run].take(event.record)
        elif event.kind == "run_finished":
            self._finish(self._open.pop(event.run), event)

    def close(self) -> None:
        """Traces that are past their time go; the file is closed; who delivers is told that nothing more comes."""
        self.store.prune(days=self._keep_days)
        self.store.close()
        if self.shipper is not None:
            self.shipper.close()

    def _stage(self, stage: Stage) -> StageDescription:
        """What a trace tells of a stage; a component is looked at once."""
        mark = id(stage)
        if mark not in self._stages or self._stages[mark][0] is not stage:
            self._stages[mark] = (stage, about(stage))
        return self._stages[mark][1]

    def _begin(self, event: Event) -> None:
        from .trace_store import RunRecord

        config = encode(event.data.get("config") or self._config)
        run = RunRecord(event.run, event.data["flow"], event.time, event.data["records"], config=digest(config))
        host = event.data.get("host")
        due = {n: e.destination(run.flow) for n, e in self._exporters.items() if e.delivers(host)}
        self._open[event.run] = _Open(run, {**self._said(event), "identity": event.data["identity"]}, due, config)
        if due and self.shipper is not None:
            self.shipper.start()
        if run.records > 1:
            self.store.begin(run)

    def _said(self, event: Event) -> dict[str, Any]:
        """What a run's config says about all its traces. Runs with configs of their own may share a sink."""
        config = event.data.get("config") or self._config
        choices = event.data.get("choices") or self._choices
        return {
            "tenant": str(config.get("tenant") or ""),
            "tags": [str(tag) for tag in config.get("tags") or ()],
            "choices": {group: option for group, option in choices.items() if not group.startswith("hydra/")},
        }

    def _finish(self, open: _Open, event: Event) -> None:
        from dataclasses import replace

        run = replace(open.run, seconds=event.data["seconds"], interrupted=event.data["interrupted"])
        values = {**open.values, run.config: open.config}
        values |= {about.identity: about.described for about in open.stages.values()}
        self.store.add(run, open.stored, values, exporters=tuple(open.due))
        if open.due and self.shipper is not None:
            self.shipper.wake()
        if time.monotonic() > self._prune_at:
            self._prune_at = time.monotonic() + _DAY
            self.store.prune(days=self._keep_days)


class _Open:
    """A run that is at work, with what it has to tell so far."""

    def __init__(
        self, run: RunRecord, about: Mapping[str, Any], due: Mapping[str, Mapping[str, Any]], config: bytes
    ) -> None:
        self.run = run
        self.config = config
        self.due = due
        self.stages: dict[str, StageDescription] = {}
        self.stored: list[dict[str, Any]] = []
        self.values: dict[str, bytes] = {}
        self._about = {**about, "run": run.run, "flow": run.flow, "config": run.config, "started": run.started}
        self._about["destinations"] = {name: dict(where) for name, where in due.items() if where}

    def take(self, record: Record) -> None:
        self.stored.append(to_stored(record, self.stages, self._about))
        at_hand = [
            *record.given.values(),
            *record.slots.values(),
            *(slot for span in record.spans for slot in span.held),
        ]
        self.values.update({slot.address: slot.data for slot in at_hand if slot.loaded})


def about(stage: Stage) -> StageDescription:
    """What a trace tells of a stage."""
    cls = type(stage)
    kind: Kind = next((name for base, name in _KINDS if isinstance(stage, base)), "stage")
    fields = ((name, getattr(stage, name)) for name in cls.model_fields)
    settings = {name: value for name, value in fields if isinstance(value, (str, int, float, bool))}
    name = f"{cls.__module__}.{cls.__qualname__}"
    return StageDescription(kind, name, stage.identity, stage.slot, settings, stage.described)
