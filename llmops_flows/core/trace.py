"""What a finished record leaves behind: one trace, plain data, which every exporter reads."""

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
    """What one stage did for one record.

    Attributes:
        stage: its name in the flow; dots lead through composites.
        kind: the role of the stage. component: its class. identity: address of all that decides what it answers.
        settings: those of its fields that are plain scalars.
        state: known (taken from the store), computed, shared (computed for somebody else), skipped, failed.
        started: `time.time()`. seconds: 0 for an answer that was known. first_token: seconds after `started`.
        took: seconds that computing the answer took, whenever that was. loading: seconds before `started` in which
            it loaded what later answers find loaded.
        inputs: slot to value. slot, output: what it wrote, where. A value that was lost is None.
        reads, address: the same values by their addresses.
        usage: tokens and cost of this call; of an answer that was known, what it cost when it was computed.
        verdict: a guardrail's finding. notes: plain facts (model, finish_reason).
        error: what went wrong ("" when nothing did).
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
    """One record that went through a flow, with everything that happened to it. Secrets are masked.

    Attributes:
        id: 32 hex digits; the `run_id` of the answer, the run id in LangSmith, the trace id in OpenTelemetry.
        run: the run that it was part of. record: the record's own name (of a question set: the question's id).
        inputs: slot to value, as the caller gave them. outputs: slot to value, what the stages left in the end.
        scores: metric to number, None where a metric says nothing. usage: of what was computed for this record.
        error: what went wrong ("" when nothing did); error_kind: the class of the error.
        ended: the stage that answered for good ("" when the flow went to its end).
        config: address of the run's config (`TraceStore.config`). identity: address of the flow.
        choices: config group to chosen option, where they are known (`prompt: rag_support/v2`).
        destinations: exporter to what it fixed when the trace was made (`Exporter.destination`).
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
    """Delivers finished traces somewhere else. It works in a process of its own, never in the path of an answer.

    What it needs to connect (keys, endpoints) it reads from the environment when it delivers. `shutdown_timeout`:
    seconds that it may still work after the application has ended; what is left is delivered at the next start.
    """

    shutdown_timeout: ClassVar[float] = 20.0

    @abstractmethod
    def deliver(self, traces: Sequence[Trace]) -> list[str]:
        """Send the traces; returns the ids of those that arrived (the others are sent again later).

        Sending a trace twice must be harmless: whoever is killed between sending and returning will do it. Blocks,
        but for seconds only. Raises BackendError, with what the other side said, when nothing arrives now.
        """

    def delivers(self, host: Any) -> bool:
        """False when the application around the flow delivers the same traces itself. host: `Call.host`."""
        return True

    def destination(self, flow: str) -> Mapping[str, Any]:
        """What is fixed when a trace is made (a project), because other apps may deliver from the same outbox."""
        return {}

    def prepare(self) -> None:
        """Import what delivering needs, before there is anything to deliver."""

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        return {"class": type(self).__qualname__, **(self.model_dump(mode="json") if include_operational else {})}


@dataclass(frozen=True, slots=True)
class StageDescription:
    """What is known of a stage: its role, class, the slot that it writes, its plain settings.

    identity: the digest of `described`, which is all that decides what it answers (`Part.described`).
    """

    kind: Kind = "stage"
    component: str = ""
    identity: str = ""
    slot: str = ""
    settings: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    described: bytes = b"{}"


def trace_id(run: str, record: str) -> str:
    """The id of a record's trace: the record's own where that is a uuid, else one made of run and record."""
    try:
        return uuid.UUID(record).hex if len(record) in (32, 36) else _derived(run, record)
    except ValueError:
        return _derived(run, record)


def _derived(run: str, record: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{run}/{record}").hex


def to_stored(record: Record, stages: Mapping[str, StageDescription], about: Mapping[str, Any]) -> dict[str, Any]:
    """A finished record as it is stored: values by their addresses.

    about: run, flow, identity, config, tenant, tags, choices, destinations; `started` of the run.
    """
    started = about["started"]
    given = {name: slot.address for name, slot in record.given.items()}
    made = {name: slot.address for name, slot in record.slots.items() if slot.stage and "/" not in name}
    first = min((span.started for span in record.spans), default=started)
    last = max((span.started + span.seconds for span in record.spans), default=first)
    return {
        **about,
        "id": trace_id(about["run"], record.id),
        "record": record.id,
        "sample": record.sample,
        "started": first,
        "seconds": round(last - first, 6),
        "inputs": given,
        "outputs": made,
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
    """The address of every value that a stored trace refers to, and the identities of its stages."""
    yield from stored["inputs"].values()
    yield from stored["outputs"].values()
    for step in stored["steps"]:
        yield from step["reads"].values()
        yield from (step[name] for name in ("address", "identity") if step[name])


def matches_address(address: str, data: object) -> bool:
    """Whether bytes are what their address says, or would be if no secret had been masked in them."""
    if not isinstance(data, bytes):
        return False
    if digest(data) == address:
        return True
    try:
        return MASK.encode() in data and encode(decode(data)) == data
    except (ValueError, TypeError):
        return False


def from_stored(stored: Mapping[str, Any], values: Mapping[str, Any]) -> Trace:
    """A stored trace with its values; what `values` lacks is None."""

    def fill(slots: Mapping[str, str]) -> dict[str, Any]:
        return {name: values.get(address) for name, address in slots.items()}

    steps = tuple(
        Step(**step, inputs=fill(step["reads"]), output=values.get(step["address"])) for step in stored["steps"]
    )
    rest = {name: value for name, value in stored.items() if name not in ("inputs", "outputs", "steps")}
    return Trace(**rest, inputs=fill(stored["inputs"]), outputs=fill(stored["outputs"]), steps=steps)
