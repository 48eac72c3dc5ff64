"""Grades an answer with TruLens's RAG triad; a function returns the replies of the judge."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Literal

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.core.errors import FlowError, StageError

from .provider import EXTRA, SCALE, Complete, make_provider

JudgeMetric = Literal["context_relevance", "groundedness", "answer_relevance"]
Grade = tuple[float, list[str]]
"""A score from 0 to 1, and the judge's reasons."""
_SCALE_ARGUMENTS = {"min_score_val": SCALE[0], "max_score_val": SCALE[1]}
_MESSAGE_LENGTH = 200


def grade(
    metric: JudgeMetric,
    complete: Complete,
    judge: str,
    *,
    question: str,
    answer: str,
    texts: Sequence[str],
    reasons: bool,
) -> Grade:
    """The score of a metric. Blocking: `complete` is called once or several times.

    Args:
        judge: name of the judge's model, for messages.
        texts: the passages that the answer is based on.
        reasons: ask for reasons before each grade; groundedness always does.

    Raises:
        StageError: a reply has no grade.
    """
    provider = make_provider(complete, judge)
    suffix = "_with_cot_reasons" if reasons else ""
    try:
        if metric == "groundedness":
            return _groundedness(provider, answer, texts)
        if metric == "answer_relevance":
            relevance = getattr(provider, f"relevance{suffix}")
            return _parse(relevance(prompt=question, response=answer, **_SCALE_ARGUMENTS))
        relevance = getattr(provider, f"context_relevance{suffix}")
        grades = [_parse(relevance(question=question, context=text, **_SCALE_ARGUMENTS)) for text in texts]
    except FlowError:
        raise
    except Exception as error:
        message = " ".join(str(error).split())[:_MESSAGE_LENGTH]
        raise StageError(f"the judge {judge!r} returned no grade: {message}") from error
    return statistics.fmean(score for score, _ in grades), [
        reason for _, grade_reasons in grades for reason in grade_reasons
    ]


def _groundedness(provider: Any, answer: str, texts: Sequence[str]) -> Grade:
    configs = load("trulens.core.feedback.feedback", EXTRA).GroundednessConfigs
    score, details = provider.groundedness_measure_with_cot_reasons(
        source="\n\n".join(texts),
        statement=answer,
        groundedness_configs=configs(use_sent_tokenize=False, filter_trivial_statements=False),
        **_SCALE_ARGUMENTS,
    )
    for reason in details["reasons"]:
        _require_score(reason["score"])
    lines = [f"{reason['criteria']}: {reason['supporting_evidence']}" for reason in details["reasons"]]
    return _require_score(score), lines


def _parse(result: Any) -> Grade:
    score, details = result if isinstance(result, tuple) else (result, {})
    return _require_score(score), [details["reason"]] if details.get("reason") else []


def _require_score(score: float) -> float:
    """The score. TruLens returns -1 or NaN for a reply that it cannot parse."""
    if not 0 <= score <= 1:
        raise ValueError("its reply has no grade that TruLens can read")
    return float(score)
