"""The roles: stages and components with a fixed slot, value type and signature."""

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
        """Every document, in a stable order. Logs a warning for each file that cannot be read, and skips it."""


class Splitter(Part, ABC):
    """Splits documents into passages. Passages keep the metadata; their position makes their ids unique."""

    @abstractmethod
    def split(self, documents: Sequence[Document]) -> list[Document]:
        """The passages of the documents, in order."""


class Embedder(Part, ABC):
    """Turns texts into vectors."""

    @abstractmethod
    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        """One row of length 1 per text. Blocks; called in batches from a thread.

        An embedder that uses a service calls it with `call_service`, which passes the call gate.

        Args:
            query: whether the texts are questions, for models that embed questions and passages differently.

        Raises:
            BackendError: the service failed.
        """


class Retriever(Stage, ABC):
    """question -> documents: the k best passages, best first, with `metadata["score"]` (higher is better)."""

    writes: ClassVar[str] = "documents"
    k: Positive = 5

    @abstractmethod
    def retrieve(self, questions: Sequence[str], call: Call) -> list[list[Document]]:
        """The passages for each question. Blocks; called from a thread, with many questions at once."""

    def ranked(self, questions: Sequence[str], call: Call) -> list[list[Document]]:
        """Like `retrieve`, for callers that need only the order. Scores may be missing; do not modify the documents."""
        return self.retrieve(questions, call)

    def run(self, question: str, call: Call) -> list[Document]:
        return self.retrieve([question], call)[0]

    def run_many(self, inputs: Sequence[Mapping[str, Any]], calls: Sequence[Call]) -> list[list[Document]]:
        return self.retrieve([given["question"] for given in inputs], calls[0])


class Reranker(Stage, ABC):
    """documents, and usually question -> context: the documents or parts of them that the model reads, best first.

    Subclasses define `run`, which returns documents. Each document keeps the id and metadata of its passage.
    """

    writes: ClassVar[str] = "context"


class Prompt(Stage, ABC):
    """slots -> messages: the chat messages for a model."""

    writes: ClassVar[str] = "messages"
    inline: ClassVar[bool] = True


GuardedSlot = Literal["question", "answer"]
_AROUND, _OTHER = 64, 16_000
"""Upper bounds of the tokens of a chat template around a list, and of an image or file."""


def most_tokens(data: Any) -> int:
    """An upper bound of the tokens of plain data: no token is less than a byte."""
    if isinstance(data, str):
        return len(data.encode("utf-8", "surrogatepass"))
    if isinstance(data, Mapping):
        other = _OTHER if str(data.get("type", "text")) in ("image_url", "image", "file", "input_audio") else 0
        return other + sum(len(str(name)) + 4 + most_tokens(value) for name, value in data.items())
    if isinstance(data, (list, tuple)):
        return _AROUND + sum(8 + most_tokens(item) for item in data)
    return len(str(data))


class Prices(BaseModel):
    """US dollars per million tokens. Operational: no part of an identity.

    Attributes:
        input, output: of input and output tokens; reasoning tokens count as output.
        cached_input: of input tokens that are read from the service's cache; None: the price of input.
        cache_write: of input tokens that are written to the service's cache; None: the price of input.
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

    def max_cost(self, input_tokens: int, output_tokens: int) -> Usage:
        """The usage of these numbers of tokens, with its maximum cost."""
        highest = max(self.input, self.cached_input or 0.0, self.cache_write or 0.0)
        total = input_tokens + output_tokens
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens, total_tokens=total)
        return self.model_copy(update={"input": highest}).cost(usage)


class Model(Stage, ABC):
    """messages -> answer (text, or JSON text when `json_schema` is set).

    Subclasses define `run(self, messages, call)` (a coroutine or a plain function), pass tokens to `call.token(text)`,
    check `call.cancelled()` while they work, and return an Outcome with `usage` and notes {"model": …,
    "finish_reason": …}. Finish reasons have OpenAI's names: stop, length, content_filter, refusal.

    A refusal, or an answer that a content filter stopped, is never stored (`cacheable=False`). An answer that reached
    `max_tokens` is stored, unless it violates `json_schema`, which is an error. An interrupted stream is an error.

    Attributes:
        name: the model's name at its service; part of the identity.
        temperature: 0 is deterministic; answers at a higher temperature are stored only with a seed or a sample number.
        max_tokens: the longest answer, in tokens.
        stop: strings that end the answer.
        seed: makes sampling repeatable.
        json_schema: JSON schema of the answer.
        prices, limits: operational; no part of the identity.
        fallback: the model that answers when the service of this model fails; operational, since its answers are not
            stored.
    """

    writes: ClassVar[str] = "answer"
    provider: ClassVar[str] = "local"
    """The provider of the model, as traces name it."""
    reports_to_callbacks: ClassVar[bool] = False
    """Whether the model reports to the callbacks of a surrounding LangChain application."""
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
        """The maximum number of output tokens of one call."""
        return self.max_tokens

    def max_cost(self, inputs: Mapping[str, Any]) -> Usage:
        if "messages" not in self.reads:
            return Usage()
        input_tokens = most_tokens([inputs.get("messages", ()), self.json_schema or {}])
        return self.prices.max_cost(input_tokens, self.max_output_tokens)


class Guardrail(Stage, ABC):
    """Checks the value of a slot, and passes, fixes or blocks it.

    An input guardrail reads and writes `question`, an output guardrail `answer`; the Outcome's `verdict` is
    {"passed": bool, "action": "pass" | "fix" | "refrain" | "reask" | "noop",
    "failures": [{"validator", "message"}]}. Blocking (`refrain`) is an Outcome with `ends=True` whose value is the
    refusal text; the runner always writes it to `answer`. on_fail=exception raises GuardrailError.

    Attributes:
        on: the slot that the guardrail checks and writes.
    """

    on: GuardedSlot = "answer"

    @property
    def slot(self) -> str:
        return self.on

    def releases(self, beginning: str, facts: Mapping[str, Any]) -> str:
        """The part of a streamed answer that may be shown before the answer is complete.

        Returns "" if the guardrail needs the complete answer.

        Args:
            beginning: the answer so far.
            facts: the other slots that the guardrail reads.
        """
        return ""


class Evaluator(Stage, ABC):
    """slots -> scores: a dict of metric name to a number in [0, 1], or None where the metric does not apply.

    The scores are stored in the slot `scores/<name of the stage>`, so that several evaluators can run. Return None for
    what cannot be scored, and raise an error for a failure.
    """

    writes: ClassVar[str] = "scores"
    gathered: ClassVar[bool] = True

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the scores; () if they are not known in advance."""
        return ()


class Agent(Stage, ABC):
    """messages or question -> answer, with any number of model and tool calls."""

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
