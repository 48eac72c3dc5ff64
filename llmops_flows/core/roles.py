"""The roles of a flow: stages and parts with slot, value type and signature fixed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from .limits import Limits
from .record import Document, Message, Usage
from .stage import OPERATIONAL, Call, Outcome, Part, Positive, Stage

Vectors = Any
"""A float32 numpy array of shape (texts, dimensions), rows of length 1."""


class DocumentLoader(Part, ABC):
    """Reads files into documents."""

    @abstractmethod
    def load(self) -> Iterator[Document]:
        """Every document, in a stable order. A file that cannot be read is named in a warning; the others go on."""


class Splitter(Part, ABC):
    """Cuts documents into passages. Metadata travels along; ids are made unique by position."""

    @abstractmethod
    def split(self, documents: Sequence[Document]) -> list[Document]:
        """The passages of the documents, in order."""


class Embedder(Part, ABC):
    """Turns texts into vectors."""

    @abstractmethod
    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        """One row of length 1 per text. `query` where the model tells questions from passages.

        Blocking; called in batches from a thread. Raises BackendError when a service fails.
        """


class Retriever(Stage, ABC):
    """question -> documents: the k best passages, best first, with `metadata["score"]` (higher is better)."""

    writes: ClassVar[str] = "documents"
    k: Positive = 5

    @abstractmethod
    def retrieve(self, questions: Sequence[str], call: Call) -> list[list[Document]]:
        """The passages for each question. Blocking; called from a thread, with many questions at once."""

    def ranked(self, questions: Sequence[str], call: Call) -> list[list[Document]]:
        """As `retrieve`, for whoever wants the order alone: perhaps without scores, and not to be changed."""
        return self.retrieve(questions, call)

    def run(self, question: str, call: Call) -> list[Document]:
        return self.retrieve([question], call)[0]

    def run_many(self, inputs: Sequence[Mapping[str, Any]], calls: Sequence[Call]) -> list[list[Document]]:
        return self.retrieve([given["question"] for given in inputs], calls[0])


class Reranker(Stage, ABC):
    """documents, and usually question -> context: the documents or parts of them that the model reads, best first.

    Subclasses define `run`, which returns documents. Each keeps the id and the metadata of the passage it comes from.
    """

    writes: ClassVar[str] = "context"


class Prompt(Stage, ABC):
    """slots -> messages: the chat messages that a model is asked with."""

    writes: ClassVar[str] = "messages"
    inline: ClassVar[bool] = True


GuardedSlot = Literal["question", "answer"]
_AROUND, _OTHER = 64, 16_000
"""Tokens around what is said (a chat template's), and of a picture or file, which may be named by a short address."""


def most_tokens(said: Any) -> int:
    """An upper bound of the tokens that plain data comes to: no token is less than a byte."""
    if isinstance(said, str):
        return len(said.encode("utf-8", "surrogatepass"))
    if isinstance(said, Mapping):
        other = _OTHER if str(said.get("type", "text")) in ("image_url", "image", "file", "input_audio") else 0
        return other + sum(len(str(name)) + 4 + most_tokens(value) for name, value in said.items())
    if isinstance(said, (list, tuple)):
        return _AROUND + sum(8 + most_tokens(one) for one in said)
    return len(str(said))


class Prices(BaseModel):
    """US dollars per million tokens. Decides no answer.

    Attributes:
        input, output: of what is asked and of what is answered (thinking counts as answered).
        cached_input: of input that the service had kept from before; None: the price of input.
        cache_write: of input that the service keeps for later; None: the price of input.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    input: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    output: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    cached_input: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    cache_write: float | None = Field(default=None, ge=0, allow_inf_nan=False)

    def cost(self, usage: Usage) -> Usage:
        """The usage with `cost_usd` filled in."""
        details = usage.get("input_token_details", {})
        read, written = details.get("cache_read", 0), details.get("cache_creation", 0)
        spent = (usage.get("input_tokens", 0) - read - written) * self.input
        spent += read * (self.input if self.cached_input is None else self.cached_input)
        spent += written * (self.input if self.cache_write is None else self.cache_write)
        spent += usage.get("output_tokens", 0) * self.output
        return Usage(**{**usage, "cost_usd": spent / 1e6})

    def max_cost(self, given: int, made: int) -> Usage:
        """The most that so many tokens of input and output can cost."""
        dearest = max(self.input, self.cached_input or 0.0, self.cache_write or 0.0)
        whole = Usage(input_tokens=given, output_tokens=made, total_tokens=given + made)
        return self.model_copy(update={"input": dearest}).cost(whole)


class Model(Stage, ABC):
    """messages -> answer (text, or JSON text when `json_schema` is set).

    Subclasses define `run(self, messages, call)` (a coroutine or a plain function), show tokens by
    `call.token(text)`, ask `call.cancelled()` while they work, and return an Outcome with `usage` and
    notes {"model": …, "finish_reason": …}, whose names are OpenAI's: stop, length, content_filter, refusal.

    A refusal, or what a content filter stopped, is an answer that is never kept (`cacheable=False`). An answer that
    reached `max_tokens` is kept, for it is what was asked for, unless it breaks `json_schema`: that is an error. So
    is an answer whose stream broke off.

    Attributes:
        name: the model's name at its service; part of the identity.
        temperature: 0 is deterministic; above, answers are kept only under a seed or a sample number.
        max_tokens: the longest answer, in tokens.
        stop: strings that end the answer.
        seed: makes a random answer repeatable.
        json_schema: JSON schema that the answer must follow.
        prices, limits: operational; no part of the identity.
        fallback: the model that answers when this one fails; its answers are not kept, so that it is operational too.
    """

    writes: ClassVar[str] = "answer"
    provider: ClassVar[str] = "local"
    """Whose service answers, as traces name it."""
    reports_to_callbacks: ClassVar[bool] = False
    """Whether it tells the callbacks of a surrounding LangChain app itself what it does."""
    name: str
    temperature: float = Field(default=0.0, ge=0, le=2, allow_inf_nan=False)
    max_tokens: Positive = 256
    stop: tuple[str, ...] = ()
    seed: int | None = None
    json_schema: dict[str, Any] | None = None
    prices: Annotated[Prices, OPERATIONAL] = Prices()
    limits: Annotated[Limits, OPERATIONAL] = Limits()
    fallback: Annotated[Model | None, OPERATIONAL] = None

    @property
    def random(self) -> bool:
        return self.temperature > 0 and self.seed is None

    @property
    def max_output_tokens(self) -> int:
        """The most tokens that it can answer one call with."""
        return self.max_tokens

    def max_cost(self, inputs: Mapping[str, Any]) -> Usage:
        if "messages" not in self.reads:
            return Usage()
        given = most_tokens([inputs.get("messages", ()), self.json_schema or {}])
        return self.prices.max_cost(given, self.max_output_tokens)


class Guardrail(Stage, ABC):
    """Looks at one slot and lets it pass, mends it, or blocks.

    An input guardrail reads and writes `question`, an output guardrail `answer`; the Outcome's `verdict` is
    {"passed": bool, "action": "pass" | "fix" | "refrain" | "reask" | "noop",
    "failures": [{"validator", "message"}]}. Blocking (`refrain`) is an Outcome with `ends=True` whose value is the
    refusal text; the runner writes it to `answer` whichever slot the stage writes. on_fail=exception raises
    GuardrailError.

    Attributes:
        on: the slot that it looks at and writes.
    """

    on: GuardedSlot = "answer"

    @property
    def slot(self) -> str:
        return self.on

    def releases(self, beginning: str, facts: Mapping[str, Any]) -> str:
        """What may be shown of an answer of which only the beginning is known: a beginning of what it will become.

        `facts` holds the other slots that the guardrail reads. "" holds everything back, which is right for every
        guardrail that must see the whole.
        """
        return ""


class Evaluator(Stage, ABC):
    """slots -> scores: a dict of metric name to a number in [0, 1], or None where the metric says nothing.

    The runner keeps it under `scores/<name of the stage>`, so that several evaluators stand side by side. What
    cannot be scored is None, what fails raises: an error is never a score.
    """

    writes: ClassVar[str] = "scores"
    gathered: ClassVar[bool] = True

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of its scores; () where they are not known beforehand."""
        return ()


class Agent(Stage, ABC):
    """messages or question -> answer, by several model and tool calls of its own."""

    writes: ClassVar[str] = "answer"


__all__ = [
    "Agent",
    "Call",
    "Document",
    "DocumentLoader",
    "Embedder",
    "Evaluator",
    "Guardrail",
    "Message",
    "Model",
    "Outcome",
    "Path",
    "Prices",
    "Prompt",
    "Reranker",
    "Retriever",
    "Splitter",
    "Usage",
    "Vectors",
]
