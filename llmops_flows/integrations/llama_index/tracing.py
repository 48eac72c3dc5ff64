"""What LlamaIndex does inside a stage, as child runs of that stage in the trace of the application around."""

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
_LONGEST = 2000
_MARK = 37
"""Characters of the mark at the end of a span's id: `-` and a uuid."""


@contextmanager
def nested_spans(call: Call) -> Iterator[None]:
    """Within the block, every span of LlamaIndex is a run under the run of the stage that `call` belongs to.

    So are those of the threads and tasks that LlamaIndex starts. Without an application that listens (`call.host`),
    nothing is done. For stages of your own: `with joined(call): engine.query(question)`.
    """
    child = getattr(call.host, "child", None)
    manager = child(call.stage, call.record).get("callbacks") if child is not None else None
    if manager is None:
        yield
        return
    _listening()
    token = _manager.set(manager)
    try:
        yield
    finally:
        _manager.reset(token)


@cache
def _listening() -> Any:
    """The listener of this process, which LlamaIndex tells of its spans from now on."""
    core = load("llama_index.core.instrumentation", "llama-index", "joined", without=SLOW_FORMATS)
    handlers = load("llama_index.core.instrumentation.span_handlers", "llama-index")
    spans = load("llama_index.core.instrumentation.span", "llama-index")

    class Joined(spans.BaseSpan):  # type: ignore[misc,name-defined]
        run: Any = None

    class Joining(handlers.BaseSpanHandler):  # type: ignore[misc,name-defined]
        """Tells callbacks of spans."""

        def new_span(
            self, id_: str, bound_args: Any, instance: Any = None, parent_span_id: str | None = None, **_: Any
        ) -> Any:
            manager = _manager.get()
            if manager is None:
                return None
            above = self.open_spans.get(parent_span_id)
            run = _told(_begun, above.run.get_child() if above is not None else manager, id_[:-_MARK], bound_args)
            return None if run is None else Joined(id_=id_, parent_id=parent_span_id, run=run)

        def prepare_to_exit_span(self, id_: str, bound_args: Any, result: Any = None, **_: Any) -> Any:
            span = self.open_spans.get(id_)
            if span is not None:
                _told(span.run.on_chain_end, {"output": _shown(result)})
            return span

        def prepare_to_drop_span(self, id_: str, bound_args: Any, err: BaseException | None = None, **_: Any) -> Any:
            span = self.open_spans.get(id_)
            if span is not None:
                _told(span.run.on_chain_error, err or RuntimeError("it was called off"))
            return span

    handler = Joining()
    core.get_dispatcher().add_span_handler(handler)
    return handler


def _told(tell: Callable[..., Any], *what: Any) -> Any:
    """Tell callbacks something. LlamaIndex swallows what a listener raises: it is logged here, and None."""
    try:
        return tell(*what)
    except Exception as error:
        log.warning("a span of LlamaIndex is not told: %s: %s", type(error).__name__, error)
        return None


def _begun(manager: Any, name: str, bound: inspect.BoundArguments) -> Any:
    given = {key: _shown(value) for key, value in bound.arguments.items() if value is not None}
    return manager.on_chain_start({"name": name}, given, name=name)


def _shown(value: Any) -> Any:
    """A value of LlamaIndex as plain data, as far as a person can read it."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return value[:_LONGEST]
    if isinstance(value, dict):
        return {str(key): _shown(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(inner) for inner in value[:50]]
    for name in ("query_str", "response", "text", "content"):
        found = getattr(value, name, None)
        if isinstance(found, str):
            return found[:_LONGEST]
    return type(value).__name__
