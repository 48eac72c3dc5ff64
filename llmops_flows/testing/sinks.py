"""The contract suite for sinks of events."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import ClassVar

import pytest

from llmops_flows.core.events import Event, Sink
from llmops_flows.core.flow import Flow
from llmops_flows.core.record import Message, Record
from llmops_flows.core.stage import Outcome, Stage
from llmops_flows.engine.runner import Runner

MAX_SECONDS = 0.25
"""The maximum seconds for one event: sinks delay the answers."""


class AskQuestion(Stage):
    """Turns the question into a message."""

    writes: ClassVar[str] = "messages"
    inline: ClassVar[bool] = True

    def run(self, question: str) -> list[Message]:
        return [Message(role="user", content=question)]


class EchoQuestion(Stage):
    """Repeats the question; fails on "bad"."""

    writes: ClassVar[str] = "answer"

    def run(self, messages: list[Message]) -> Outcome:
        if messages[-1]["content"] == "bad":
            raise ValueError("no answer to that")
        return Outcome(messages[-1]["content"], usage={"input_tokens": 1, "output_tokens": 1})


class SinkContract(ABC):
    """The contract of sinks. Inherit it, and implement `sink`."""

    @abstractmethod
    def sink(self) -> Sink:
        """A new sink."""

    def test_it_accepts_a_run_with_failures(self, caplog: pytest.LogCaptureFixture) -> None:
        sink = self.sink()
        with Runner(sinks=[sink]) as runner:
            records = [Record.of(text, {"question": text}) for text in ("good", "bad", "Büro 🙂 \x1b[2J", "x" * 20_000)]
            runner.run(Flow(stages={"ask": AskQuestion(), "say": EchoQuestion()}), records)
        sink.close()
        assert [record.id for record in records if record.error is not None] == ["bad"]
        assert "missed events" not in caplog.text

    def test_it_accepts_several_runs_at_once(self, caplog: pytest.LogCaptureFixture) -> None:
        sink = self.sink()
        flow = Flow(stages={"ask": AskQuestion(), "say": EchoQuestion()})
        with Runner(sinks=[sink]) as runner:
            running = [runner.start(flow, [Record.of("1", {"question": str(n)})]) for n in range(8)]
            for run in running:
                run.future.result(30)
        sink.close()
        assert "missed events" not in caplog.text

    def test_it_handles_an_event_quickly(self) -> None:
        sink, slowest = self.sink(), 0.0

        class Timed:
            def on(self, event: Event) -> None:
                nonlocal slowest
                start = time.perf_counter()
                sink.on(event)
                slowest = max(slowest, time.perf_counter() - start)

            def close(self) -> None:
                """Nothing to release."""

        flow = Flow(stages={"ask": AskQuestion(), "say": EchoQuestion()})
        with Runner(sinks=[Timed()]) as runner:
            runner.run(flow, [Record.of("0", {"question": "warm"})])
            slowest = 0.0
            runner.run(flow, [Record.of(str(n), {"question": str(n)}) for n in range(20)])
        sink.close()
        assert slowest < MAX_SECONDS

    def test_it_can_be_closed_twice_and_without_any_event(self) -> None:
        sink = self.sink()
        sink.close()
        sink.close()
