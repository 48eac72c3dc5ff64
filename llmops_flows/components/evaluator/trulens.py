"""TruLens's RAG triad as evaluators: context relevance, groundedness, answer relevance, graded by any chat model."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, cached_property, partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import SerializeAsAny

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.core.errors import FlowError, StageError
from llmops_flows.core.record import Document, Message, Usage, add_usage
from llmops_flows.core.roles import Evaluator, Model
from llmops_flows.core.stage import OPERATIONAL, Call, Outcome, Positive
from llmops_flows.integrations.trulens.provider import EXTRA, SCALE, SCHEMAS, make_provider, provider_version
from llmops_flows.text.overlap import is_refusal

from .basic import require_passages, require_text

JudgeMetric = Literal["context_relevance", "groundedness", "answer_relevance"]
_READS: dict[JudgeMetric, dict[str, bool]] = {
    "context_relevance": {"question": True, "documents": False, "context": False},
    "groundedness": {"answer": True, "documents": False, "context": False},
    "answer_relevance": {"question": True, "answer": True},
}
_SHOWN = 200


class TruLensJudge(Evaluator):
    """judged_<metric>: a score of TruLens's RAG triad, with TruLens's prompts, graded by a language model.

    context_relevance is the mean over the passages that the prompt held, groundedness the mean over the answer's
    sentences; a refusal claims nothing and is not graded. A reply without a grade is an error, never a score. Every
    call of the judge is kept by its content: another prompt version judges only the passages that are new.

    Attributes:
        metric: which of the three.
        judge: the model that grades. Small models grade at random: measure yours against people.
        reasons: have the judge give reasons before its grade (better, and several times the tokens; groundedness
            always has them). They are in the trace, under notes.
        max_tokens: room for a reply of the judge, in tokens: its own limit counts where it is larger (thoughts), its
            stop strings do not.
        parallel: how many calls for one answer may wait for the judge at once.
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
            return [f"judge: {type(self.judge).__name__} reads no messages, so it cannot grade: choose a chat model"]
        return []

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        return {**super().fingerprint(include_operational=include_operational), "trulens": provider_version()}

    @cached_property
    def asked(self) -> dict[str, Model]:
        """Form of the answer to the judge that is asked for it."""
        return {"": self._judge(None)} | {form: self._judge(fields) for form, fields in SCHEMAS.items()}

    def _judge(self, fields: dict[str, Any] | None) -> Model:
        given = {name: getattr(self.judge, name) for name in type(self.judge).model_fields}
        schema = {
            "type": "object",
            "properties": fields,
            "required": [*(fields or ())],
            "additionalProperties": False,
        }
        form = schema if fields is not None else None
        room = max(self.max_tokens, self.judge.max_tokens)
        return type(self.judge)(**{**given, "stop": (), "max_tokens": room, "json_schema": form})

    async def run(
        self,
        call: Call,
        question: str | None = None,
        answer: str | None = None,
        documents: list[Document] | None = None,
        context: list[Document] | None = None,
    ) -> Outcome:
        asked, said = require_text(question, "question"), require_text(answer, "answer")
        found = context if context is not None else documents
        texts = [] if found is None else [passage["page_content"] for passage in require_passages(found)]
        if self._says_nothing(said, texts):
            return Outcome({f"judged_{self.metric}": None})
        bench = _Bench(self, call, asyncio.get_running_loop())
        grade = partial(_grade, self, bench, asked, said, texts)
        work = partial(copy_context().run, grade)
        score, reasons = await asyncio.get_running_loop().run_in_executor(_threads(), work)
        notes = {"model": self.judge.name, "reasons": reasons} if reasons else {"model": self.judge.name}
        return Outcome({f"judged_{self.metric}": score}, usage=bench.usage, notes=notes)

    def _says_nothing(self, answer: str, texts: Sequence[str]) -> bool:
        if self.metric == "context_relevance":
            return not texts
        if self.metric == "groundedness":
            return not texts or is_refusal(answer)
        return not answer.strip()


class _Bench:
    """What the judge is asked through, from TruLens's threads: the run's cache and call gate."""

    def __init__(self, evaluator: TruLensJudge, call: Call, loop: asyncio.AbstractEventLoop) -> None:
        self.usage = Usage()
        self._evaluator = evaluator
        self._call = call
        self._loop = loop
        self._room = asyncio.Semaphore(evaluator.parallel)

    def complete(self, messages: Sequence[Message], form: str) -> str:
        return asyncio.run_coroutine_threadsafe(self._ask(messages, form), self._loop).result()

    async def _ask(self, messages: Sequence[Message], form: str) -> str:
        asked = self._evaluator.asked
        async with self._room:
            found = await self._call.ask(asked.get(form, asked[""]), {"messages": list(messages)})
        self.usage = add_usage(self.usage, found.usage)
        return str(found.value)


@cache
def _threads() -> ThreadPoolExecutor:
    """Threads in which TruLens waits for judges. The runner's own are for the judges."""
    return ThreadPoolExecutor(16, thread_name_prefix="llmops-flows-trulens")


def _grade(
    evaluator: TruLensJudge, bench: _Bench, question: str, answer: str, texts: Sequence[str]
) -> tuple[float, list[str]]:
    """The score and the judge's reasons. Blocking. Raises StageError when a reply has no grade."""
    grading = make_provider(bench.complete, evaluator.judge.name)
    scale = {"min_score_val": SCALE[0], "max_score_val": SCALE[1]}
    try:
        if evaluator.metric == "groundedness":
            return _grounded(grading, answer, texts, scale)
        suffix = "_with_cot_reasons" if evaluator.reasons else ""
        if evaluator.metric == "answer_relevance":
            return _read(getattr(grading, f"relevance{suffix}")(prompt=question, response=answer, **scale))
        graded = [
            _read(getattr(grading, f"context_relevance{suffix}")(question=question, context=text, **scale))
            for text in texts
        ]
    except FlowError:
        raise
    except Exception as error:
        told = " ".join(str(error).split())[:_SHOWN]
        raise StageError(f"the judge {evaluator.judge.name!r} gave no grade: {told}") from error
    return statistics.fmean(score for score, _ in graded), [reason for _, reasons in graded for reason in reasons]


def _grounded(grading: Any, answer: str, texts: Sequence[str], scale: Mapping[str, int]) -> tuple[float, list[str]]:
    configs = load("trulens.core.feedback.feedback", EXTRA).GroundednessConfigs
    score, told = grading.groundedness_measure_with_cot_reasons(
        source="\n\n".join(texts),
        statement=answer,
        groundedness_configs=configs(use_sent_tokenize=False, filter_trivial_statements=False),
        **scale,
    )
    for one in told["reasons"]:
        _checked(one["score"])
    return _checked(score), [f"{one['criteria']}: {one['supporting_evidence']}" for one in told["reasons"]]


def _read(graded: Any) -> tuple[float, list[str]]:
    score, told = graded if isinstance(graded, tuple) else (graded, {})
    return _checked(score), [told["reason"]] if told.get("reason") else []


def _checked(score: float) -> float:
    """The score. TruLens's sign for a reply that it could not read (-1), NaN and the like are none."""
    if not 0 <= score <= 1:
        raise ValueError("its reply has no grade that TruLens can read")
    return float(score)
