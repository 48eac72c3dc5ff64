"""Reports LlamaIndex spans inside a stage as child runs of the stage in the caller's trace."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from llmops_flows.artifacts.lazy_import import SLOW_FORMATS, load
from llmops_flows.core.stage import Call

log = logging.getLogger("llmops_flows")
_manager: ContextVar[Any] = ContextVar("llmops_flows_llama_index_manager", default=None)
_MAX_TEXT = 2000
_SUFFIX_LENGTH = 37
"""Characters at the end of a span's id: `-` and a UUID."""


@contextmanager
def nested_spans(call: Call) -> Iterator[None]:
    """Within the block, LlamaIndex spans are child runs of the stage of `call`, threads and tasks included.

    Without a calling application (`call.host`), it does nothing. For your own stages:
    `with nested_spans(call): engine.query(question)`.
    """
    child = getattr(call.host, "child", None)
    manager = child(call.stage, call.record).get("callbacks") if child is not None else None
    if manager is None:
        yield
        return
    _span_handler()
    token = _manager.set(manager)
    try:
        yield
    finally:
        _manager.reset(token)


@cache
def _span_handler() -> Any:
    """The span handler of this process, registered with LlamaIndex on first use."""
    core = load("llama_index.core.instrumentation", "llama-index", "nested_spans", without=SLOW_FORMATS)
    handlers = load("llama_index.core.instrumentation.span_handlers", "llama-index")
    spans = load("llama_index.core.instrumentation.span", "llama-index")

    class RunSpan(spans.BaseSpan):  # type: ignore[misc,name-defined]
        run: Any = None

    class CallbackSpanHandler(handlers.BaseSpanHandler):  # type: ignore[misc,name-defined]
        """Calls LangChain callbacks for each span."""

        def new_span(
            self, id_: str, bound_args: Any, instance: Any = None, parent_span_id: str | None = None, **_: Any
        ) -> Any:
            manager = _manager.get()
            if manager is None:
                return None
            parent = self.open_spans.get(parent_span_id)
            run = _report(
                _start_run, parent.run.get_child() if parent is not None else manager, id_[:-_SUFFIX_LENGTH], bound_args
            )
            return None if run is None else RunSpan(id_=id_, parent_id=parent_span_id, run=run)

        def prepare_to_exit_span(self, id_: str, bound_args: Any, result: Any = None, **_: Any) -> Any:
            span = self.open_spans.get(id_)
            if span is not None:
                _report(span.run.on_chain_end, {"output": _plain(result)})
            return span

        def prepare_to_drop_span(self, id_: str, bound_args: Any, err: BaseException | None = None, **_: Any) -> Any:
            span = self.open_spans.get(id_)
            if span is not None:
                _report(span.run.on_chain_error, err or RuntimeError("the span was cancelled"))
            return span

    handler = CallbackSpanHandler()
    core.get_dispatcher().add_span_handler(handler)
    return handler


def _report(callback: Callable[..., Any], *arguments: Any) -> Any:
    """Call a callback. Log an exception, which LlamaIndex would ignore, and return None."""
    try:
        return callback(*arguments)
    except Exception as error:
        log.warning("a LlamaIndex span could not be reported: %s: %s", type(error).__name__, error)
        return None


def _start_run(manager: Any, name: str, bound: inspect.BoundArguments) -> Any:
    inputs = {key: _plain(value) for key, value in bound.arguments.items() if value is not None}
    return manager.on_chain_start({"name": name}, inputs, name=name)


def _plain(value: Any) -> Any:
    """A value of LlamaIndex as readable plain data."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return value[:_MAX_TEXT]
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value[:50]]
    for name in ("query_str", "response", "text", "content"):
        text = getattr(value, name, None)
        if isinstance(text, str):
            return text[:_MAX_TEXT]
    return type(value).__name__
