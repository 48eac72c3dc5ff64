"""`evaluator=trulens`: TruLens's RAG triad, graded by any chat model of llmops_flows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, cached_property, partial
from typing import Annotated, Any, ClassVar

from pydantic import SerializeAsAny

from llmops_flows.core.record import Document, Message, Usage, add_usage
from llmops_flows.core.roles import Evaluator, Model
from llmops_flows.core.stage import OPERATIONAL, Call, Outcome, Positive
from llmops_flows.integrations.trulens.judge import JudgeMetric, grade
from llmops_flows.integrations.trulens.provider import EXTRA, SCHEMAS, provider_version
from llmops_flows.text.overlap import is_refusal

from .basic import require_passages, require_text

_READS: dict[JudgeMetric, dict[str, bool]] = {
    "context_relevance": {"question": True, "documents": False, "context": False},
    "groundedness": {"answer": True, "documents": False, "context": False},
    "answer_relevance": {"question": True, "answer": True},
}


class TruLensJudge(Evaluator):
    """judged_<metric>: a score of TruLens's RAG triad, with TruLens's prompts, graded by a language model.

    context_relevance is the mean over the passages in the prompt, groundedness the mean over the answer's sentences;
    a refusal is not graded for groundedness. A reply without a grade is an error, never a score. Calls of the judge
    are cached, so a new prompt version judges only new passages.

    Attributes:
        metric: one of the three metrics of the triad.
        judge: the model that grades. Small models grade almost at random: compare the judge with human grades.
        reasons: ask for reasons before each grade; better grades for several times the tokens. Groundedness always
            does. The reasons are in the notes of the trace.
        max_tokens: maximum length of a reply in tokens; the judge's own limit if that is larger. The judge's
            stop strings are not used.
        parallel: maximum number of concurrent judge calls for one answer.
    """

    requires: ClassVar[tuple[str, ...]] = ("trulens",)
    extra: ClassVar[str] = EXTRA
    metric: JudgeMetric
    judge: SerializeAsAny[Model]
    reasons: bool = True
    max_tokens: Positive = 512
    parallel: Annotated[Positive, OPERATIONAL] = 4

    @property
    def reads(self) -> Mapping[str, bool]:
        return _READS[self.metric]

    @property
    def metrics(self) -> tuple[str, ...]:
        return (f"judged_{self.metric}",)

    @property
    def random(self) -> bool:
        return self.judge.random

    def problems(self) -> list[str]:
        if "messages" not in self.judge.reads:
            return [
                f"judge: {type(self.judge).__name__} does not read messages, so it cannot grade; choose a chat model"
            ]
        return []

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        return {**super().fingerprint(include_operational=include_operational), "trulens": provider_version()}

    @cached_property
    def judges(self) -> dict[str, Model]:
        """Name of a response format to the judge that answers in it; "" for plain text."""
        return {"": self._judge(None)} | {name: self._judge(fields) for name, fields in SCHEMAS.items()}

    def _judge(self, fields: dict[str, Any] | None) -> Model:
        settings = {name: getattr(self.judge, name) for name in type(self.judge).model_fields}
        schema = None
        if fields is not None:
            schema = {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}
        max_tokens = max(self.max_tokens, self.judge.max_tokens)
        return type(self.judge)(**{**settings, "stop": (), "max_tokens": max_tokens, "json_schema": schema})

    async def run(
        self,
        call: Call,
        question: str | None = None,
        answer: str | None = None,
        documents: list[Document] | None = None,
        context: list[Document] | None = None,
    ) -> Outcome:
        question, answer = require_text(question, "question"), require_text(answer, "answer")
        passages = context if context is not None else documents
        texts = [] if passages is None else [passage["page_content"] for passage in require_passages(passages)]
        if self._not_applicable(answer, texts):
            return Outcome({f"judged_{self.metric}": None})
        loop = asyncio.get_running_loop()
        calls = _JudgeCalls(self, call, loop)
        work = partial(
            grade, self.metric, calls.complete, self.judge.name,
            question=question, answer=answer, texts=texts, reasons=self.reasons,
        )  # fmt: skip
        score, reasons = await loop.run_in_executor(_threads(), copy_context().run, work)
        notes = {"model": self.judge.name, **({"reasons": reasons} if reasons else {})}
        return Outcome({f"judged_{self.metric}": score}, usage=calls.usage, notes=notes)

    def _not_applicable(self, answer: str, texts: Sequence[str]) -> bool:
        """Whether there is nothing to grade, so that the score is None."""
        if self.metric == "context_relevance":
            return not texts
        if self.metric == "groundedness":
            return not texts or is_refusal(answer)
        return not answer.strip()


class _JudgeCalls:
    """Calls the judge from TruLens's threads, through the run's cache and call gate."""

    def __init__(self, evaluator: TruLensJudge, call: Call, loop: asyncio.AbstractEventLoop) -> None:
        self.usage = Usage()
        self._judges = evaluator.judges
        self._call = call
        self._loop = loop
        self._semaphore = asyncio.Semaphore(evaluator.parallel)

    def complete(self, messages: Sequence[Message], response_format: str) -> str:
        return asyncio.run_coroutine_threadsafe(self._complete(messages, response_format), self._loop).result()

    async def _complete(self, messages: Sequence[Message], response_format: str) -> str:
        judge = self._judges.get(response_format, self._judges[""])
        async with self._semaphore:
            outcome = await self._call.ask(judge, {"messages": list(messages)})
        self.usage = add_usage(self.usage, outcome.usage)
        return str(outcome.value)


@cache
def _threads() -> ThreadPoolExecutor:
    """Threads in which TruLens waits for the judge; the runner's own threads may run the judge itself."""
    return ThreadPoolExecutor(16, thread_name_prefix="llmops-flows-trulens")
