"""A flow as a LangChain Runnable that nests in the caller's traces, streams, batches and composes with `|`."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.utils import AddableDict
from pydantic import BaseModel, create_model

from llmops_flows.core.errors import FlowError, InputError
from llmops_flows.core.flow import Flow
from llmops_flows.core.record import Record
from llmops_flows.engine.runner import Runner
from llmops_flows.text.live_answer import LiveAnswer, answer_guardrails

from .callbacks import CallerConfig, ChildRuns
from .inputs import input_slots, join_pieces

Answer = dict[str, Any]
_OUTPUTS = ("answer", "documents", "context", "messages")


class FlowRunnable(Runnable[Any, Answer]):
    """A flow for LangChain apps.

    The input is the question as a string, or a dict with the inputs of the flow. The output is a dict with `answer`,
    `documents`, `usage`, `verdicts` and `run_id`. `stream` yields dicts that add up to the output: pieces of the
    answer first, when no guardrail can change them any more, then the rest.

    Args:
        pickled: returns what a pickle contains, a function and its arguments; never a runner, resource or secret.

    Raises:
        InputError: the input does not match the inputs of the flow.
        StageError: a stage failed; its attribute `stage` names it.
    """

    def __init__(self, flow: Flow, runner: Runner, pickled: Callable[[], tuple[Any, ...]] | None = None) -> None:
        self.flow = flow
        self.runner = runner
        self.name = flow.name
        self._pickled = pickled

    def __reduce__(self) -> tuple[Any, ...]:
        if self._pickled is None:
            raise TypeError(f"{self!r} cannot be pickled because it has an open runner; load_flow returns one that can")
        return (*self._pickled(), {"name": self.name})

    def __copy__(self) -> FlowRunnable:
        """A copy shares the flow, which is frozen, and the runner, which is safe for concurrent use."""
        copied = FlowRunnable(self.flow, self.runner, self._pickled)
        copied.name = self.name
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> FlowRunnable:
        return self.__copy__()

    def __repr__(self) -> str:
        return f"FlowRunnable({self.flow.name!r}: {' -> '.join(name for name, _ in self.flow.leaves())})"

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Answer:
        return self._call_with_config(self._run_record, input, config, run_type="chain")

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Answer:
        return await self._acall_with_config(self._arun_record, input, config, run_type="chain")

    def _run_record(self, input: Any, run_manager: CallbackManagerForChainRun, config: RunnableConfig) -> Answer:
        record = self._record(input, run_manager)
        sink = self._children({record.id: run_manager}, [record])
        self.runner.run(self.flow, [record], **self._options(sink, config))
        return self._answer(record)

    async def _arun_record(
        self, input: Any, run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig
    ) -> Answer:
        record = self._record(input, run_manager)
        sink = self._children({record.id: run_manager.get_sync()}, [record])
        await self.runner.arun(self.flow, [record], **self._options(sink, config))
        return self._answer(record)

    def batch(
        self,
        inputs: list[Any],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any | None,
    ) -> list[Answer]:
        return self._batch_with_config(self._run_batch, inputs, config, return_exceptions=return_exceptions)

    async def abatch(
        self,
        inputs: list[Any],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any | None,
    ) -> list[Answer]:
        return await self._abatch_with_config(self._arun_batch, inputs, config, return_exceptions=return_exceptions)

    def _run_batch(
        self,
        inputs: list[Any],
        run_manager: list[CallbackManagerForChainRun],
        config: list[RunnableConfig],
    ) -> list[Answer | Exception]:
        records, failed = self._records(inputs, run_manager)
        sink = self._children(_managers(records, run_manager), [r for r in records if r is not None])
        self.runner.run(self.flow, [r for r in records if r is not None], **self._options(sink, config[0]))
        return self._answers(records, failed)

    async def _arun_batch(
        self,
        inputs: list[Any],
        run_manager: list[AsyncCallbackManagerForChainRun],
        config: list[RunnableConfig],
    ) -> list[Answer | Exception]:
        records, failed = self._records(inputs, run_manager)
        managers = [manager.get_sync() for manager in run_manager]
        sink = self._children(_managers(records, managers), [r for r in records if r is not None])
        live = [r for r in records if r is not None]
        await self.runner.arun(self.flow, live, **self._options(sink, config[0]))
        return self._answers(records, failed)

    def _records(
        self, inputs: Sequence[Any], managers: Sequence[Any]
    ) -> tuple[list[Record | None], dict[int, FlowError]]:
        records: list[Record | None] = []
        failed: dict[int, FlowError] = {}
        for position, (input, manager) in enumerate(zip(inputs, managers, strict=True)):
            try:
                records.append(self._record(input, manager))
            except InputError as error:
                records.append(None)
                failed[position] = error
        return records, failed

    def _answers(self, records: Sequence[Record | None], failed: Mapping[int, FlowError]) -> list[Answer | Exception]:
        results: list[Answer | Exception] = []
        for position, record in enumerate(records):
            if record is None:
                results.append(failed[position])
            else:
                results.append(record.error or self._answer(record))
        return results

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Answer]:
        yield from self.transform(iter([input]), config, **kwargs)

    def transform(
        self, input: Iterator[Any], config: RunnableConfig | None = None, **kwargs: Any | None
    ) -> Iterator[Answer]:
        yield from self._transform_stream_with_config(input, self._pieces, config, run_type="chain")

    async def astream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any | None
    ) -> AsyncIterator[Answer]:
        async def single_input() -> AsyncIterator[Any]:
            yield input

        async for piece in self.atransform(single_input(), config, **kwargs):
            yield piece

    async def atransform(
        self, input: AsyncIterator[Any], config: RunnableConfig | None = None, **kwargs: Any | None
    ) -> AsyncIterator[Answer]:
        async for piece in self._atransform_stream_with_config(input, self._apieces, config, run_type="chain"):
            yield piece

    def _pieces(
        self, input: Iterator[Any], run_manager: CallbackManagerForChainRun, config: RunnableConfig
    ) -> Iterator[Answer]:
        record = self._record(join_pieces(list(input)), run_manager)
        pieces: queue.SimpleQueue[Any] = queue.SimpleQueue()
        live = self._live(record, pieces.put)
        sinks = (self._children({record.id: run_manager}, [record]), live)
        work = self.runner.start(self.flow, [record], **self._options(*sinks, config))
        work.future.add_done_callback(lambda _: pieces.put(None))
        try:
            while (piece := pieces.get()) is not None:
                yield AddableDict(answer=piece)
        finally:
            if not work.future.done():  # the reader stopped early
                work.stop()
        work.future.result()
        yield from self._rest(record, live)

    async def _apieces(
        self, input: AsyncIterator[Any], run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig
    ) -> AsyncIterator[Answer]:
        record = self._record(join_pieces([piece async for piece in input]), run_manager)
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[Any]()

        def put(text: str) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, text)

        live = self._live(record, put)
        sinks = (self._children({record.id: run_manager.get_sync()}, [record]), live)
        work = asyncio.ensure_future(self.runner.arun(self.flow, [record], **self._options(*sinks, config)))
        work.add_done_callback(lambda _: loop.call_soon_threadsafe(pieces.put_nowait, None))
        try:
            while (piece := await pieces.get()) is not None:
                yield AddableDict(answer=piece)
            await work
        finally:
            if not work.done():  # the reader stopped early
                work.cancel()
                await asyncio.wait([work])
        for rest in self._rest(record, live):
            yield rest

    def _children(self, managers: Mapping[str, Any], records: Sequence[Record]) -> ChildRuns:
        return ChildRuns(managers, records, tokens=not answer_guardrails(self.flow))

    def _live(self, record: Record, show: Callable[[str], None]) -> LiveAnswer:
        store = self.runner.context.store
        return LiveAnswer(self.flow, record, show, store.values if store is not None else lambda addresses: {})

    def _rest(self, record: Record, live: LiveAnswer) -> Iterator[Answer]:
        """The rest of the answer, then the other outputs."""
        answer = self._answer(record)
        rest = live.rest(answer.pop("answer"))
        if rest or not live.shown:
            yield AddableDict(answer=rest)
        yield AddableDict(answer)

    def _record(self, input: Any, manager: Any) -> Record:
        """The record of an input. Its id is the id of the caller's run."""
        return Record.of(manager.run_id.hex, input_slots(self.flow, input))

    def _options(self, *parts: Any) -> dict[str, Any]:
        *sinks, config = parts
        return {"sinks": tuple(sinks), "host": CallerConfig(config, sinks[0]), "only": _OUTPUTS}

    def _answer(self, record: Record) -> Answer:
        if record.error is not None:
            raise record.error
        slots = {name: record.get(name) for name in _OUTPUTS if name in record.slots and name != "messages"}
        return {
            **slots,
            "answer": record.answer,
            "usage": dict(record.usage),
            "verdicts": {name: dict(verdict) for name, verdict in record.verdicts.items()},
            "run_id": record.id,
        }

    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        fields: dict[str, Any] = dict.fromkeys(self.flow.inputs, (str, ...))
        return cast(type[BaseModel], create_model(f"{self.flow.name}_input", **fields))

    def get_output_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        fields: dict[str, Any] = {
            "answer": (str, ...),
            "documents": (list[dict[str, Any]] | None, None),
            "usage": (dict[str, Any], {}),
            "verdicts": (dict[str, Any], {}),
        }
        return cast(type[BaseModel], create_model(f"{self.flow.name}_output", **fields))


def _managers(records: Sequence[Record | None], managers: Sequence[Any]) -> dict[str, Any]:
    return {r.id: manager for r, manager in zip(records, managers, strict=True) if r is not None}
