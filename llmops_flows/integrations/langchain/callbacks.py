"""Reports stages as child runs of the caller's LangChain run, so that a flow nests in the trace of the app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from langchain_core.callbacks import CallbackManagerForChainRun
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.runnables import RunnableConfig

from llmops_flows.core.events import Event
from llmops_flows.core.record import Record, Span, Usage
from llmops_flows.core.roles import Model, Retriever
from llmops_flows.core.stage import Stage

_DETAILS: tuple[Literal["input_token_details", "output_token_details"], ...] = (
    "input_token_details",
    "output_token_details",
)


class ChildRuns:
    """A sink that calls LangChain callbacks for each stage: as a retriever, a chat model or a chain.

    Args:
        managers: record id to the callback manager of its run.
        records: the records of the run.
        tokens: whether tokens are reported; False if a guardrail may still change the answer.
    """

    def __init__(
        self,
        managers: Mapping[str, CallbackManagerForChainRun],
        records: Sequence[Record],
        *,
        tokens: bool = True,
    ) -> None:
        self._tokens = tokens
        self._managers = {key: manager for key, manager in managers.items() if manager.handlers}
        self._records = {record.id: record for record in records}
        self._open: dict[tuple[str, str], Any] = {}

    def on(self, event: Event) -> None:
        if not self._managers:
            return
        if event.kind == "stage_started":
            for record in event.data["ids"]:
                self._start(event.stage, event.data["component"], record)
        elif event.kind == "token" and self._tokens:
            run = self._open.get((event.stage, event.record_id))
            if run is not None and hasattr(run, "on_llm_new_token"):
                run.on_llm_new_token(event.data["text"])
        elif event.kind == "stage_finished":
            for record, span in event.data["spans"].items():
                self._finish(event.stage, event.data["component"], record, span)

    def close(self) -> None:
        """Nothing to release."""

    def child(self, stage: str, record: str) -> Any:
        """The callbacks for LangChain runs inside a stage, for one record; None if there are no handlers."""
        run = self._open.get((stage, record))
        parent = run if hasattr(run, "get_child") else self._managers.get(record)
        return None if parent is None else parent.get_child()

    def _start(self, name: str, stage: Stage, record: str) -> None:
        manager = self._managers.get(record)
        if manager is None:
            return
        child, slots = manager.get_child(name), self._records[record].slots
        inputs = {slot: slots[slot].value for slot in stage.reads if slot in slots and slots[slot].loaded}
        if isinstance(stage, Retriever):
            run: Any = child.on_retriever_start({"name": name}, str(inputs.get("question", "")), name=name)
        elif isinstance(stage, Model) and not stage.reports_to_callbacks:
            metadata = {
                "ls_provider": stage.provider,
                "ls_model_name": stage.name,
                "ls_model_type": "chat",
            }
            child.add_metadata({**metadata, "ls_temperature": stage.temperature}, inherit=False)
            messages: list[BaseMessage] = convert_to_messages(inputs.get("messages", []))
            run = child.on_chat_model_start({"name": name}, [messages], name=name)[0]
        else:
            run = child.on_chain_start({"name": name}, inputs, name=name)
        self._open[name, record] = run

    def _finish(self, name: str, stage: Stage, record: str, span: Span) -> None:
        run = self._open.pop((name, record), None)
        if run is None:
            return
        if span.state == "failed":
            error = self._records[record].error or RuntimeError(span.error)
            (run.on_retriever_error if isinstance(stage, Retriever) else _error_callback(run))(error)
            return
        slot = self._records[record].slots.get(stage.slot)
        value = slot.value if slot is not None and slot.loaded else None
        if isinstance(stage, Retriever):
            run.on_retriever_end([Document(**document) for document in value or []])
        elif isinstance(stage, Model) and not stage.reports_to_callbacks:
            message = AIMessage(str(value or ""), usage_metadata=_usage(span), response_metadata=dict(span.notes))
            run.on_llm_end(LLMResult(generations=[[ChatGeneration(message=message)]]))
        else:
            run.on_chain_end({stage.slot: value, "state": span.state})


def _error_callback(run: Any) -> Any:
    return run.on_llm_error if hasattr(run, "on_llm_error") else run.on_chain_error


def _usage(span: Span) -> Any:
    return usage_metadata(span.usage) if span.state == "computed" else None


def usage_metadata(usage: Usage) -> Any:
    """The usage as LangChain's usage_metadata, which has no cost; None without token counts."""
    if "input_tokens" not in usage:
        return None
    inputs, outputs = usage["input_tokens"], usage.get("output_tokens", 0)
    details = {name: usage[name] for name in _DETAILS if name in usage}
    return {"input_tokens": inputs, "output_tokens": outputs, "total_tokens": inputs + outputs, **details}


class CallerConfig(dict[str, Any]):
    """The caller's RunnableConfig, with the child config of each stage."""

    def __init__(self, config: RunnableConfig, runs: ChildRuns) -> None:
        super().__init__(config)
        self._runs = runs

    def child(self, stage: str, record: str) -> RunnableConfig:
        """The config for LangChain runs inside a stage, for one record, nested under the run of the stage."""
        return cast(RunnableConfig, {**self, "callbacks": self._runs.child(stage, record), "run_id": None})
