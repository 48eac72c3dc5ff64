"""A TruLens provider whose completions come from a function, without pacing, retries or downloads."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import PrivateAttr

from llmops_flows.artifacts.lazy_import import SLOW_FORMATS, load
from llmops_flows.core.record import Message
from llmops_flows.text.overlap import claims

EXTRA = "trulens"
SCALE = (0, 3)
"""TruLens's scale of grades, from worst to best."""
GRADE = {"type": "integer", "enum": list(range(SCALE[0], SCALE[1] + 1))}
SCHEMAS: dict[str, dict[str, Any]] = {
    "BaseFeedbackResponse": {"score": GRADE},
    "ChainOfThoughtResponse": {
        "criteria": {"type": "string"},
        "supporting_evidence": {"type": "string"},
        "score": GRADE,
    },
}
"""TruLens's response formats: name to fields, in the order in which a judge should fill them."""

Complete = Callable[[Sequence[Message], str], str]
"""Calls the judge: messages and the name of the response format ("" for plain text) to the reply."""


def make_provider(complete: Complete, name: str) -> Any:
    """A TruLens LLMProvider that calls `complete`. `name` is the judge's model.

    Raises:
        MissingExtra: TruLens is not installed.
    """
    endpoint_class, provider_class = _classes()
    endpoint = endpoint_class(name="llmops_flows", _register_instance=False)
    provider = provider_class(model_engine=name, endpoint=endpoint)
    provider._complete = complete
    return provider


@cache
def _classes() -> tuple[type, type]:
    """The endpoint and the provider class; defined on first use, since TruLens takes seconds to import."""
    for name in ("alembic", "trulens"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        llm = load("trulens.feedback.llm_provider", EXTRA, "evaluator=trulens", without=(*SLOW_FORMATS, "llama_index"))
    # TruLens warns about each grade without reasons, but its score is valid.
    warnings.filterwarnings("ignore", "No supporting evidence", module="trulens")
    split_prompt = load("trulens.feedback.templates.rag", EXTRA).Groundedness.sentences_splitter_prompt

    class DirectEndpoint(load("trulens.core.feedback.endpoint", EXTRA).Endpoint):  # type: ignore[misc]
        """Calls without pacing or retries, which the call gate provides."""

        def run_in_pace(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            return func(*args, **kwargs)

    class FunctionProvider(llm.LLMProvider):  # type: ignore[misc,name-defined]
        """TruLens's prompts and parsers over a completion function."""

        _complete: Any = PrivateAttr(default=None)

        def _create_chat_completion(
            self, prompt: str | None = None, messages: Any = None, response_format: Any = None, **_: Any
        ) -> str:
            chat: list[Any] = list(messages) if messages is not None else [{"role": "user", "content": prompt}]
            if chat[0]["content"] == split_prompt:
                return "\n".join(" ".join(claim.split()) for claim in claims(chat[1]["content"]))
            reply: str = self._complete(chat, getattr(response_format, "__name__", ""))
            return reply

    return DirectEndpoint, FunctionProvider


@cache
def provider_version() -> str:
    """The installed version of TruLens's prompts, read without importing them."""
    try:
        return version("trulens-feedback")
    except PackageNotFoundError:
        return "not installed"
