"""What every stage must do, as suites to inherit: any stage, models, guardrails, rerankers, evaluators."""

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
    """What holds for every stage. Inherit, and give `stage` and `example`."""

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

    def ask(self, runner: Runner, *asked: Slots, sinks: Any = ()) -> list[Record]:
        """The records of a run of this stage alone over these slots."""
        stage = self.stage()
        flow = Flow(stages={"it": stage}, inputs=tuple(stage.reads))
        records = [Record.of(str(n), slots) for n, slots in enumerate(asked)]
        return runner.run(flow, records, only=(stage.slot, "answer"), sinks=sinks)

    def answer(self, record: Record) -> Any:
        """What the stage said."""
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

    def test_a_field_it_does_not_have_is_refused(self) -> None:
        stage = self.stage()
        fields: dict[str, Any] = {name: getattr(stage, name) for name in type(stage).model_fields}
        with pytest.raises(ValidationError):
            type(stage)(**{**fields, "no_such_field": 1})

    def test_it_travels_to_other_processes(self) -> None:
        here, there = multiprocessing.Pipe()
        with here, there:
            here.send(self.stage())
            assert there.recv().identity == self.stage().identity

    def test_it_says_which_slots_it_reads_and_writes(self) -> None:
        stage = self.stage()
        assert stage.slot
        assert {name for name, required in stage.reads.items() if required} <= self.example().keys()

    def test_nothing_is_wrong_with_it(self) -> None:
        assert self.stage().problems() == []

    def test_it_answers_with_plain_data(self, runner: Runner) -> None:
        [record] = self.ask(runner, self.example())
        encode(self.answer(record))

    def test_it_leaves_alone_what_it_reads(self, runner: Runner) -> None:
        given = copy.deepcopy(dict(self.example()))
        self.ask(runner, given)
        assert given == self.example()

    def test_an_answer_that_is_known_is_not_computed(self, runner: Runner) -> None:
        if self.stage().random:
            pytest.skip("it draws its answers")
        first, again = (self.ask(runner, self.example())[0] for _ in range(2))
        assert self.answer(again) == self.answer(first)
        assert [span.state for span in again.spans] in (["known"], ["computed"])

    def test_it_answers_the_same_alone_and_among_others(self, tmp_path: Any) -> None:
        if self.stage().random:
            pytest.skip("it draws its answers")
        with Runner(home=tmp_path / "home") as runner:
            [alone] = self.ask(runner, self.example())
            together = self.ask(runner, self.example(), self.example(), self.example())
        assert [self.answer(record) for record in together] == [self.answer(alone)] * 3

    def test_a_slot_that_is_missing_is_named(self, runner: Runner) -> None:
        required = [name for name, needed in self.stage().reads.items() if needed]
        if required:
            rest = {name: value for name, value in self.example().items() if name != required[0]}
            [record] = self.ask(runner, rest)
            assert repr(required[0]) in str(record.error)


class ModelContract(StageContract):
    """What holds for every model. Inherit, and give `stage` (a model) and `example`."""

    def test_it_is_a_model(self) -> None:
        assert isinstance(self.stage(), Model)

    def test_it_answers_with_text(self, runner: Runner) -> None:
        [record] = self.ask(runner, self.example())
        assert isinstance(self.answer(record), str) and self.answer(record)

    def test_it_says_what_was_used_and_by_whom(self, runner: Runner) -> None:
        [record] = self.ask(runner, self.example())
        usage, notes = record.spans[0].usage, record.spans[0].notes
        assert all(isinstance(value, (int, float)) and value >= 0 for value in usage.values())
        assert usage.get("total_tokens", 0) >= 0
        assert all(isinstance(notes.get(name, ""), str) for name in ("model", "finish_reason"))

    def test_what_it_shows_is_what_it_says(self, runner: Runner) -> None:
        shown = _Shown()
        [record] = self.ask(runner, self.example(), sinks=[shown])
        if shown.text:
            assert " ".join(shown.text.split()) == " ".join(str(self.answer(record)).split())

    def test_prices_and_limits_decide_no_answer(self) -> None:
        stage = self.stage()
        assert isinstance(stage, Model)
        dearer = stage.model_copy(update={"prices": type(stage.prices)(input=9.0, output=9.0)})
        fresh = type(stage)(**{name: getattr(dearer, name) for name in type(stage).model_fields})
        assert fresh.identity == stage.identity


class GuardrailContract(StageContract):
    """What holds for every guardrail. Inherit, and give `stage`, `example` (it passes) and `bad` (it does not)."""

    @abstractmethod
    def bad(self) -> Slots:
        """Slots that the guardrail does not let pass as they are."""

    def watched(self) -> str:
        stage = self.stage()
        assert isinstance(stage, Guardrail)
        return stage.on

    def test_it_reads_and_writes_what_it_watches(self) -> None:
        stage = self.stage()
        assert stage.slot == self.watched()
        assert self.watched() in stage.reads

    def test_what_is_good_passes_as_it_is(self, runner: Runner) -> None:
        [record] = self.ask(runner, self.example())
        assert self.answer(record) == self.example()[self.watched()]
        assert record.verdicts["it"]["passed"] is True
        assert not record.ended

    def test_what_is_bad_is_told_with_its_cause(self, runner: Runner) -> None:
        [record] = self.ask(runner, self.bad())
        if record.error is not None:
            return  # on_fail=exception
        verdict = record.verdicts["it"]
        assert verdict["passed"] is False
        assert verdict["action"] in ("fix", "refrain", "reask", "noop")
        assert all(failure["validator"] and failure["message"] for failure in verdict["failures"])
        assert verdict["failures"]
        encode(dict(verdict))

    def test_what_is_bad_does_not_come_out(self, runner: Runner) -> None:
        [record] = self.ask(runner, self.bad())
        if record.error is None and record.verdicts["it"]["action"] != "noop":
            assert self.answer(record) != self.bad()[self.watched()]

    @pytest.mark.parametrize("text", ["", " ", "\n", "\u0000", "日本語 🙂", "word " * 2000])
    def test_strange_texts_are_no_error(self, runner: Runner, text: str) -> None:
        [record] = self.ask(runner, {**self.example(), self.watched(): text})
        assert record.error is None or type(record.error).__name__ == "GuardrailError"


class RerankerContract(StageContract):
    """What holds for every reranker; `example` has at least one document."""

    def test_it_is_a_reranker(self) -> None:
        assert isinstance(self.stage(), Reranker) and self.stage().slot == "context"

    def test_each_passage_comes_from_a_document(self, runner: Runner) -> None:
        [record] = self.ask(runner, self.example())
        context = self.answer(record)
        assert context and {passage["id"] for passage in context} <= {d["id"] for d in self.example()["documents"]}
        assert all(isinstance(passage["page_content"], str) for passage in context)

    def test_no_documents_give_no_passages(self, runner: Runner) -> None:
        [record] = self.ask(runner, {**self.example(), "documents": []})
        assert self.answer(record) == []


class EvaluatorContract(StageContract):
    """What holds for every evaluator. Inherit, and give `stage` and `example`."""

    def test_it_is_an_evaluator(self) -> None:
        assert isinstance(self.stage(), Evaluator)

    def test_scores_are_shares_or_nothing(self, runner: Runner) -> None:
        [record] = self.ask(runner, self.example())
        assert record.scores
        for name, score in record.scores.items():
            assert score is None or (math.isfinite(score) and 0 <= score <= 1), name

    def test_it_always_names_the_same_metrics(self, runner: Runner) -> None:
        required = {name for name, needed in self.stage().reads.items() if needed}
        bare = {name: value for name, value in self.example().items() if name in required}
        whole, less = self.ask(runner, self.example(), bare)
        assert less.error is None
        assert whole.scores.keys() == less.scores.keys()

    def ask(self, runner: Runner, *asked: Slots, sinks: Any = ()) -> list[Record]:
        records = [Record.of(str(n), slots) for n, slots in enumerate(asked)]
        flow = Flow(stages={"it": self.stage()}, inputs=tuple(self.stage().reads))
        return runner.run(flow, records, only=("scores/it",), sinks=sinks)

    def answer(self, record: Record) -> Any:
        assert record.error is None, record.error
        return record.scores


class _Shown:
    """Gathers the pieces of an answer as they are shown."""

    def __init__(self) -> None:
        self.text = ""

    def on(self, event: Event) -> None:
        if event.kind == "token":
            self.text += event.data["text"]

    def close(self) -> None:
        """Nothing to release."""
