"""Traces: the execution of a finished record, as plain data for exporters."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from .fingerprint import decode, digest, encode
from .record import Record, Span, State
from .redaction import MASK
from .stage import Part

Kind = Literal["retriever", "prompt", "model", "guardrail", "evaluator", "agent", "stage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The span of one stage for one record, as plain data for exporters.

    Attributes:
        stage: its name in the flow; dots separate the names of composites.
        kind: the role of the stage. component: its class. identity: the address of everything that decides its answers.
        settings: its fields that are plain scalars.
        state: known (from the store), similar, computed, shared (computed for another record), skipped, failed.
        started: `time.time()`. seconds: 0 for a known answer. first_token: seconds after `started`.
        took: seconds that computing the answer took, also for a known answer. loading: seconds before `started` that
            were spent on loading a model or index that later calls reuse.
        inputs: slot to value. slot, output: the slot that the stage wrote, and the value. A lost value is None.
        reads, address: the addresses of inputs and output.
        usage: tokens and cost of this call; for a known answer, those of its computation.
        verdict: a guardrail's verdict. notes: plain facts (model, finish_reason).
        error: the message of the error ("": none).
    """

    stage: str
    kind: Kind
    component: str = ""
    identity: str = ""
    settings: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    state: State
    started: float
    seconds: float
    inputs: Mapping[str, Any] = field(default_factory=dict)
    slot: str = ""
    output: Any = None
    reads: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    key: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)
    verdict: Mapping[str, Any] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    first_token: float | None = None
    took: float = 0.0
    loading: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The execution of a flow for one record, with its steps. Secrets are masked.

    Attributes:
        id: 32 hex digits; the `run_id` of the answer, the run id in LangSmith, the trace id in OpenTelemetry.
        run: the id of its run. record: the id of the record (in a question set: of the question).
        inputs: slot to value, as the caller filled them. outputs: slot to value at the end.
        scores: metric to number, None where a metric does not apply.
        usage: tokens and cost of the answers that were computed for this record.
        error: the message of the error ("": none); error_kind: the class of the error.
        ended: the stage that ended the flow early ("": none).
        config: address of the run's config (`TraceStore.config`). identity: address of the flow.
        choices: config group to chosen option, where known (`prompt: rag_support/v2`).
        destinations: exporter to its destination at the time of the run (`Exporter.destination`).
    """

    id: str
    run: str
    record: str
    flow: str
    identity: str = ""
    config: str = ""
    tenant: str = ""
    tags: Sequence[str] = ()
    sample: int | None = None
    started: float
    seconds: float
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    steps: Sequence[Step] = ()
    scores: Mapping[str, float | None] = field(default_factory=dict)
    verdicts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    usage: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    error_kind: str = ""
    ended: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)
    destinations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Exporter(Part, ABC):
    """Delivers finished traces to another system. Runs in a separate process, so that no answer waits for it.

    It reads keys and endpoints from the environment when it delivers.

    Attributes:
        shutdown_timeout: seconds for which delivery may continue after the application has ended. The remaining traces
            are delivered at the next start.
    """

    shutdown_timeout: ClassVar[float] = 20.0

    @abstractmethod
    def deliver(self, traces: Sequence[Trace]) -> list[str]:
        """Send traces, and return the ids of those that arrived. The others are sent again later.

        Must be idempotent: a trace is sent twice if the process is killed after sending. May block for seconds.

        Raises:
            BackendError: nothing can be delivered now; with the response of the service.
        """

    def delivers(self, host: Any) -> bool:
        """False if the surrounding application delivers the same traces. host: `Call.host`."""
        return True

    def destination(self, flow: str) -> Mapping[str, Any]:
        """Settings that are stored with a trace (a project), since another application may deliver it."""
        return {}

    def prepare(self) -> None:
        """Import the libraries that `deliver` needs, before the first trace."""

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        return {"class": type(self).__qualname__, **(self.model_dump(mode="json") if include_operational else {})}


@dataclass(frozen=True, slots=True)
class StageDescription:
    """The role and class of a stage, the slot that it writes, and its plain settings.

    identity: the digest of `described`; see `Part.described`.
    """

    kind: Kind = "stage"
    component: str = ""
    identity: str = ""
    slot: str = ""
    settings: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    described: bytes = b"{}"


def trace_id(run: str, record: str) -> str:
    """The id of a record's trace: the record's id if that is a UUID, else a UUID derived from run and record."""
    try:
        return uuid.UUID(record).hex if len(record) in (32, 36) else _derived(run, record)
    except ValueError:
        return _derived(run, record)


def _derived(run: str, record: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{run}/{record}").hex


def to_stored(record: Record, stages: Mapping[str, StageDescription], about: Mapping[str, Any]) -> dict[str, Any]:
    """The stored form of a finished record, with addresses in place of values.

    Args:
        about: the fields that all traces of a run share: run, flow, identity, config, tenant, tags, choices,
            destinations, started.
    """
    started = about["started"]
    inputs = {name: slot.address for name, slot in record.given.items()}
    outputs = {name: slot.address for name, slot in record.slots.items() if slot.stage and "/" not in name}
    first = min((span.started for span in record.spans), default=started)
    last = max((span.started + span.seconds for span in record.spans), default=first)
    return {
        **about,
        "id": trace_id(about["run"], record.id),
        "record": record.id,
        "sample": record.sample,
        "started": first,
        "seconds": round(last - first, 6),
        "inputs": inputs,
        "outputs": outputs,
        "steps": [_step(span, stages.get(span.stage, StageDescription()), record) for span in record.spans],
        "scores": record.scores,
        "verdicts": {name: dict(verdict) for name, verdict in record.verdicts.items()},
        "usage": dict(record.usage),
        "error": str(record.error) if record.error is not None else "",
        "error_kind": type(record.error).__name__ if record.error is not None else "",
        "ended": record.ended,
    }


def _step(span: Span, about: StageDescription, record: Record) -> dict[str, Any]:
    return {
        "stage": span.stage,
        "kind": about.kind,
        "component": about.component,
        "identity": about.identity,
        "settings": about.settings,
        "state": span.state,
        "started": span.started,
        "seconds": round(span.seconds, 6),
        "slot": "answer" if record.ended == span.stage else about.slot,
        "reads": dict(span.reads),
        "address": span.address,
        "key": span.key,
        "usage": dict(span.usage),
        "verdict": dict(span.verdict) if span.verdict is not None else None,
        "notes": dict(span.notes),
        "error": span.error,
        "first_token": span.first_token,
        "took": round(span.took, 6),
        "loading": round(span.loading, 6),
    }


def referenced_addresses(stored: Mapping[str, Any]) -> Iterator[str]:
    """The addresses of all values that a stored trace refers to, and the identities of its stages."""
    yield from stored["inputs"].values()
    yield from stored["outputs"].values()
    for step in stored["steps"]:
        yield from step["reads"].values()
        yield from (step[name] for name in ("address", "identity") if step[name])


def matches_address(address: str, data: object) -> bool:
    """Whether bytes match their address, or may have matched it before secrets in them were masked."""
    if not isinstance(data, bytes):
        return False
    if digest(data) == address:
        return True
    try:
        return MASK.encode() in data and encode(decode(data)) == data
    except (ValueError, TypeError):
        return False


def from_stored(stored: Mapping[str, Any], values: Mapping[str, Any]) -> Trace:
    """The trace with this stored form. Values that are not in `values` are None."""

    def fill(slots: Mapping[str, str]) -> dict[str, Any]:
        return {name: values.get(address) for name, address in slots.items()}

    steps = tuple(
        Step(**step, inputs=fill(step["reads"]), output=values.get(step["address"])) for step in stored["steps"]
    )
    rest = {name: value for name, value in stored.items() if name not in ("inputs", "outputs", "steps")}
    return Trace(**rest, inputs=fill(stored["inputs"]), outputs=fill(stored["outputs"]), steps=steps)
