"""A TruLens provider whose completions come from a function: no pacing, retries or downloads of its own."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from llmops_flows.artifacts.lazy_import import SLOW_FORMATS, load
from llmops_flows.core.record import Message
from llmops_flows.text.overlap import claims

EXTRA = "trulens"
SCALE = (0, 3)
"""TruLens's own scale of grades, from the worst to the best."""
GRADE = {"type": "integer", "enum": list(range(SCALE[0], SCALE[1] + 1))}
SCHEMAS: dict[str, dict[str, Any]] = {
    "BaseFeedbackResponse": {"score": GRADE},
    "ChainOfThoughtResponse": {
        "criteria": {"type": "string"},
        "supporting_evidence": {"type": "string"},
        "score": GRADE,
    },
}
"""Name of TruLens's form of an answer to its fields, in the order in which a judge should think."""

Complete = Callable[[Sequence[Message], str], str]
"""Messages and the name of the form that the answer should have ("" for none) to the judge's answer."""


def make_provider(complete: Complete, name: str) -> Any:
    """A TruLens LLMProvider that asks `complete`. name: the judge's model.

    Raises:
        MissingExtra: TruLens is not installed.
    """
    unpaced, asking = classes()
    made = asking(model_engine=name, endpoint=unpaced(name="llmops_flows", _register_instance=False))
    made._complete = complete
    return made


@cache
def classes() -> tuple[type, type]:
    """The endpoint and the provider; made late, since TruLens takes seconds to load."""
    for noisy in ("alembic", "trulens"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        llm = load("trulens.feedback.llm_provider", EXTRA, "evaluator=trulens", without=(*SLOW_FORMATS, "llama_index"))
    # A judge that gives a score without its reasons is told of by a warning each time; the score is all that counts.
    warnings.filterwarnings("ignore", "No supporting evidence", module="trulens")
    splitting = load("trulens.feedback.templates.rag", EXTRA).Groundedness.sentences_splitter_prompt
    private = load("pydantic", EXTRA).PrivateAttr

    class Unpaced(load("trulens.core.feedback.endpoint", EXTRA).Endpoint):  # type: ignore[misc]
        """Calls at once and once: limits, retries and cost are the call gate's business."""

        def run_in_pace(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            return func(*args, **kwargs)

    class Asking(llm.LLMProvider):  # type: ignore[misc,name-defined]
        """TruLens's prompts and its reading of the answers, over a model of llmops_flows."""

        _complete: Any = private(default=None)

        def _create_chat_completion(
            self, prompt: str | None = None, messages: Any = None, response_format: Any = None, **_: Any
        ) -> str:
            asked: list[Any] = list(messages) if messages is not None else [{"role": "user", "content": prompt}]
            if asked[0]["content"] == splitting:
                return "\n".join(" ".join(claim.split()) for claim in claims(asked[1]["content"]))
            answer: str = self._complete(asked, getattr(response_format, "__name__", ""))
            return answer

    return Unpaced, Asking


@cache
def provider_version() -> str:
    """The version of TruLens's prompts; found without importing it."""
    try:
        return version("trulens-feedback")
    except PackageNotFoundError:
        return "not installed"
