"""The contract suites for stages: any stage, models, guardrails, rerankers and evaluators."""

from __future__ import annotations

import copy
import math
import multiprocessing
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from llmops_flows.core.events import Event
from llmops_flows.core.fingerprint import encode
from llmops_flows.core.flow import Flow
from llmops_flows.core.record import Record
from llmops_flows.core.roles import Evaluator, Guardrail, Model, Reranker
from llmops_flows.core.stage import Stage
from llmops_flows.engine.runner import Runner

from .fakes import DictStore

Slots = Mapping[str, Any]


class StageContract(ABC):
    """The contract of stages. Inherit it, and implement `stage` and `example`."""

    @abstractmethod
    def stage(self) -> Stage:
        """A fresh stage, always of the same configuration."""

    @abstractmethod
    def example(self) -> Slots:
        """Slots that the stage answers without an error."""

    @pytest.fixture
    def runner(self, tmp_path: Any) -> Any:
        with Runner(store=DictStore(), home=tmp_path / "home") as runner:
            yield runner

    def run_stage(self, runner: Runner, *inputs: Slots, sinks: Any = ()) -> list[Record]:
        """The records of a run of this stage alone over these slots."""
        stage = self.stage()
        flow = Flow(stages={"it": stage}, inputs=tuple(stage.reads))
        records = [Record.of(str(n), slots) for n, slots in enumerate(inputs)]
        return runner.run(flow, records, only=(stage.slot, "answer"), sinks=sinks)

    def output(self, record: Record) -> Any:
        """The output of the stage."""
        assert record.error is None, record.error
        return record.get("answer" if record.ended else self.stage().slot)

    def test_the_same_configuration_has_the_same_identity(self) -> None:
        assert self.stage().identity == self.stage().identity

    def test_its_identity_is_plain_data(self) -> None:
        encode(self.stage().fingerprint())
        encode(self.stage().fingerprint(include_operational=True))

    def test_it_cannot_be_changed(self) -> None:
        stage = self.stage()
        name = next(iter(type(stage).model_fields), None)
        if name is not None:
            with pytest.raises(ValidationError):
                setattr(stage, name, getattr(stage, name))

    def test_an_unknown_field_is_an_error(self) -> None:
        stage = self.stage()
        fields: dict[str, Any] = {name: getattr(stage, name) for name in type(stage).model_fields}
        with pytest.raises(ValidationError):
            type(stage)(**{**fields, "no_such_field": 1})

    def test_it_can_be_sent_to_other_processes(self) -> None:
        sender, receiver = multiprocessing.Pipe()
        with sender, receiver:
            sender.send(self.stage())
            assert receiver.recv().identity == self.stage().identity

    def test_it_declares_the_slots_it_reads_and_writes(self) -> None:
        stage = self.stage()
        assert stage.slot
        assert {name for name, required in stage.reads.items() if required} <= self.example().keys()

    def test_it_has_no_problems(self) -> None:
        assert self.stage().problems() == []

    def test_it_answers_with_plain_data(self, runner: Runner) -> None:
        [record] = self.run_stage(runner, self.example())
        encode(self.output(record))

    def test_it_does_not_change_its_inputs(self, runner: Runner) -> None:
        slots = copy.deepcopy(dict(self.example()))
        self.run_stage(runner, slots)
        assert slots == self.example()

    def test_a_known_answer_is_not_computed_again(self, runner: Runner) -> None:
        if self.stage().random:
            pytest.skip("its answers are random")
        first, again = (self.run_stage(runner, self.example())[0] for _ in range(2))
        assert self.output(again) == self.output(first)
        assert [span.state for span in again.spans] in (["known"], ["computed"])

    def test_it_answers_the_same_alone_and_in_a_batch(self, tmp_path: Any) -> None:
        if self.stage().random:
            pytest.skip("its answers are random")
        with Runner(home=tmp_path / "home") as runner:
            [alone] = self.run_stage(runner, self.example())
            together = self.run_stage(runner, self.example(), self.example(), self.example())
        assert [self.output(record) for record in together] == [self.output(alone)] * 3

    def test_a_missing_slot_is_named_in_the_error(self, runner: Runner) -> None:
        required = [name for name, needed in self.stage().reads.items() if needed]
        if required:
            incomplete = {name: value for name, value in self.example().items() if name != required[0]}
            [record] = self.run_stage(runner, incomplete)
            assert repr(required[0]) in str(record.error)


class ModelContract(StageContract):
    """The contract of models. Inherit it, and implement `stage` (a model) and `example`."""

    def test_it_is_a_model(self) -> None:
        assert isinstance(self.stage(), Model)

    def test_it_answers_with_text(self, runner: Runner) -> None:
        [record] = self.run_stage(runner, self.example())
        assert isinstance(self.output(record), str) and self.output(record)

    def test_it_reports_usage_and_model(self, runner: Runner) -> None:
        [record] = self.run_stage(runner, self.example())
        usage, notes = record.spans[0].usage, record.spans[0].notes
        assert all(isinstance(value, (int, float)) and value >= 0 for value in usage.values())
        assert usage.get("total_tokens", 0) >= 0
        assert all(isinstance(notes.get(name, ""), str) for name in ("model", "finish_reason"))

    def test_the_streamed_text_is_the_answer(self, runner: Runner) -> None:
        streamed = _StreamedText()
        [record] = self.run_stage(runner, self.example(), sinks=[streamed])
        if streamed.text:
            assert " ".join(streamed.text.split()) == " ".join(str(self.output(record)).split())

    def test_prices_and_limits_are_not_part_of_the_identity(self) -> None:
        stage = self.stage()
        assert isinstance(stage, Model)
        dearer = stage.model_copy(update={"prices": type(stage.prices)(input=9.0, output=9.0)})
        fresh = type(stage)(**{name: getattr(dearer, name) for name in type(stage).model_fields})
        assert fresh.identity == stage.identity


class GuardrailContract(StageContract):
    """The contract of guardrails. Inherit it, implement `stage`, `example` (passes) and `blocked_example` (fails)."""

    @abstractmethod
    def blocked_example(self) -> Slots:
        """Slots that the guardrail changes or blocks."""

    def guarded_slot(self) -> str:
        stage = self.stage()
        assert isinstance(stage, Guardrail)
        return stage.on

    def test_it_reads_and_writes_the_guarded_slot(self) -> None:
        stage = self.stage()
        assert stage.slot == self.guarded_slot()
        assert self.guarded_slot() in stage.reads

    def test_a_good_example_passes_unchanged(self, runner: Runner) -> None:
        [record] = self.run_stage(runner, self.example())
        assert self.output(record) == self.example()[self.guarded_slot()]
        assert record.verdicts["it"]["passed"] is True
        assert not record.ended

    def test_a_blocked_example_has_a_verdict_with_causes(self, runner: Runner) -> None:
        [record] = self.run_stage(runner, self.blocked_example())
        if record.error is not None:
            return  # on_fail=exception
        verdict = record.verdicts["it"]
        assert verdict["passed"] is False
        assert verdict["action"] in ("fix", "refrain", "reask", "noop")
        assert all(failure["validator"] and failure["message"] for failure in verdict["failures"])
        assert verdict["failures"]
        encode(dict(verdict))

    def test_a_blocked_example_does_not_pass_unchanged(self, runner: Runner) -> None:
        [record] = self.run_stage(runner, self.blocked_example())
        if record.error is None and record.verdicts["it"]["action"] != "noop":
            assert self.output(record) != self.blocked_example()[self.guarded_slot()]

    @pytest.mark.parametrize("text", ["", " ", "\n", "\u0000", "日本語 🙂", "word " * 2000])
    def test_unusual_texts_are_not_an_error(self, runner: Runner, text: str) -> None:
        [record] = self.run_stage(runner, {**self.example(), self.guarded_slot(): text})
        assert record.error is None or type(record.error).__name__ == "GuardrailError"


class RerankerContract(StageContract):
    """The contract of rerankers. Inherit it, and implement `stage` and `example`, with at least one document."""

    def test_it_is_a_reranker(self) -> None:
        assert isinstance(self.stage(), Reranker) and self.stage().slot == "context"

    def test_each_passage_comes_from_a_document(self, runner: Runner) -> None:
        [record] = self.run_stage(runner, self.example())
        context = self.output(record)
        assert context and {passage["id"] for passage in context} <= {d["id"] for d in self.example()["documents"]}
        assert all(isinstance(passage["page_content"], str) for passage in context)

    def test_no_documents_give_no_passages(self, runner: Runner) -> None:
        [record] = self.run_stage(runner, {**self.example(), "documents": []})
        assert self.output(record) == []


class EvaluatorContract(StageContract):
    """The contract of evaluators. Inherit it, and implement `stage` and `example`."""

    def test_it_is_an_evaluator(self) -> None:
        assert isinstance(self.stage(), Evaluator)

    def test_scores_are_between_0_and_1_or_none(self, runner: Runner) -> None:
        [record] = self.run_stage(runner, self.example())
        assert record.scores
        for name, score in record.scores.items():
            assert score is None or (math.isfinite(score) and 0 <= score <= 1), name

    def test_it_always_names_the_same_metrics(self, runner: Runner) -> None:
        required = {name for name, needed in self.stage().reads.items() if needed}
        required_only = {name: value for name, value in self.example().items() if name in required}
        complete, partial = self.run_stage(runner, self.example(), required_only)
        assert partial.error is None
        assert complete.scores.keys() == partial.scores.keys()

    def run_stage(self, runner: Runner, *inputs: Slots, sinks: Any = ()) -> list[Record]:
        records = [Record.of(str(n), slots) for n, slots in enumerate(inputs)]
        flow = Flow(stages={"it": self.stage()}, inputs=tuple(self.stage().reads))
        return runner.run(flow, records, only=("scores/it",), sinks=sinks)

    def output(self, record: Record) -> Any:
        assert record.error is None, record.error
        return record.scores


class _StreamedText:
    """Collects the streamed tokens of an answer."""

    def __init__(self) -> None:
        self.text = ""

    def on(self, event: Event) -> None:
        if event.kind == "token":
            self.text += event.data["text"]

    def close(self) -> None:
        """Nothing to release."""
