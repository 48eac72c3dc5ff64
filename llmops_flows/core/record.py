"""Records: slots of plain data with content addresses, which stages read and write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, TypedDict, cast

from .errors import FlowError
from .fingerprint import decode, digest, encode


class Document(TypedDict):
    """A passage, with LangChain's field names. `metadata` may hold source, page, score."""

    id: str
    page_content: str
    metadata: dict[str, Any]


class Message(TypedDict):
    """An OpenAI-format chat message."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    name: NotRequired[str]


class Usage(TypedDict, total=False):
    """Tokens and money of one or more model calls, with LangChain's usage_metadata names.

    `input_token_details` counts the input tokens of type `cache_read` and `cache_creation`; `output_token_details`
    counts the output tokens of type `reasoning`.
    """

    input_tokens: int
    output_tokens: int
    total_tokens: int
    cost_usd: float
    input_token_details: dict[str, int]
    output_token_details: dict[str, int]


def question_id(id: str, sample: int | None) -> str:
    """The id of a record's question, which all its samples share."""
    return id if sample is None else id.removesuffix(f".{sample}")


def add_usage(first: Usage, second: Usage) -> Usage:
    """The sum of two usages; a missing figure counts as 0."""
    return cast(Usage, _sum(first, second))


def _sum(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    total: dict[str, Any] = dict(first)
    for name, value in second.items():
        if isinstance(value, Mapping):
            total[name] = _sum(total.get(name, {}), value)
        elif isinstance(value, (int, float)):
            total[name] = total.get(name, 0) + value
    return total


class Slot:
    """One value of a record, identified by its address, and loaded and decoded when it is first needed.

    `stage` is the name of the stage that wrote it ("" for an input).
    """

    __slots__ = ("_data", "_value", "address", "stage")

    def __init__(self, address: str, *, data: bytes | None = None, stage: str = "") -> None:
        self.address = address
        self.stage = stage
        self._data = data
        self._value: Any = self

    @classmethod
    def of(cls, value: Any) -> Slot:
        """A slot that holds `value` (plain data)."""
        data = encode(value)
        slot = cls(digest(data), data=data)
        slot._value = value
        return slot

    @property
    def loaded(self) -> bool:
        """Whether the bytes are loaded."""
        return self._data is not None

    def fill(self, data: bytes) -> None:
        """Set the bytes that belong to the address."""
        self._data = data

    @property
    def data(self) -> bytes:
        """The encoded bytes. Raises LookupError while only the address is known."""
        if self._data is None:
            raise LookupError(f"the value {self.address} is not loaded")
        return self._data

    @property
    def value(self) -> Any:
        """The decoded value."""
        if self._value is self:
            self._value = decode(self.data)
        return self._value


State = Literal["computed", "known", "similar", "shared", "skipped", "failed"]


@dataclass(slots=True)
class Span:
    """One execution of a stage for one record.

    Attributes:
        held: the slots that the stage read and wrote.
        took: seconds that computing the answer took, also for a known answer (whose `seconds` is 0).
        loading: seconds spent on loading a model or index that later calls reuse; not part of `seconds`.
    """

    stage: str
    state: State
    started: float
    seconds: float = 0.0
    key: str = ""
    address: str = ""
    reads: Mapping[str, str] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    verdict: Mapping[str, Any] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    first_token: float | None = None
    held: Sequence[Slot] = ()
    took: float = 0.0
    loading: float = 0.0


@dataclass(slots=True)
class Record:
    """Slot name to value, with the spans of its stages.

    A record is `live` until a stage fails, a stage ends the flow early, or the answer of a similar question is reused.

    Attributes:
        error: the error of the stage that failed.
        ended: the name of the stage that ended the flow early.
        feedback: the message to the model when a guardrail requests another answer.
        refusal: the answer if the model keeps failing the guardrail.
        recalled: whether the answer of a similar question is reused.
        given: the inputs, before stages overwrite them.
    """

    id: str
    slots: dict[str, Slot]
    sample: int | None = None
    run: str = ""
    spans: list[Span] = field(default_factory=list)
    error: FlowError | None = None
    ended: str = ""
    feedback: str = ""
    refusal: Slot | None = None
    recalled: bool = False
    given: Mapping[str, Slot] = field(default_factory=dict)

    @classmethod
    def of(cls, id: str, values: Mapping[str, Any], *, sample: int | None = None) -> Record:
        """A new record; values that are None count as absent."""
        given = {name: Slot.of(value) for name, value in values.items() if value is not None}
        return cls(id, dict(given), sample, given=given)

    @property
    def name(self) -> tuple[str, str]:
        """The id of the run and the id of the record, which are unique together."""
        return self.run, self.id

    @property
    def live(self) -> bool:
        return self.error is None and not self.ended and not self.recalled

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a slot, or `default`."""
        slot = self.slots.get(name)
        return default if slot is None else slot.value

    @property
    def answer(self) -> Any:
        return self.get("answer")

    @property
    def scores(self) -> dict[str, float | None]:
        """Metric to score; None where a metric does not apply to this record."""
        scores: dict[str, float | None] = {}
        for name, slot in self.slots.items():
            if name.startswith("scores/") and slot.loaded:
                scores.update(slot.value)
        return scores

    @property
    def usage(self) -> Usage:
        """Tokens and cost of what was computed for this record; known answers cost nothing."""
        total = Usage()
        for span in self.spans:
            if span.state == "computed":
                total = add_usage(total, span.usage)
        return total

    @property
    def verdicts(self) -> dict[str, Mapping[str, Any]]:
        """Guardrail stage to its verdict."""
        return {span.stage: span.verdict for span in self.spans if span.verdict is not None}

    def values(self) -> dict[str, Any]:
        """Every loaded slot as plain data, with scores, verdicts and usage."""
        plain = {n: s.value for n, s in self.slots.items() if "/" not in n and s.loaded}
        return plain | {"scores": self.scores, "verdicts": self.verdicts, "usage": self.usage}
