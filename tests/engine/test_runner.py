"""The runner computes what is new, once, and keeps it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from llmops_flows import Fallback, Flow, Parallel, Record, Runner, StageError
from llmops_flows.components.cache.exact import ExactCache
from llmops_flows.components.cache.normalized import NormalizedCache
from llmops_flows.core.events import Event
from llmops_flows.stores.memory_store import MemoryStore
from tests.support.stub_stages import (
    RUN_COUNTS,
    Find,
    FindMany,
    Guard,
    Length,
    Say,
    Write,
    question_records,
    rag_flow,
    states,
)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    RUN_COUNTS.clear()
    yield


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def test_an_answer_comes_out() -> None:
    with Runner() as runner:
        [record] = runner.run(rag_flow(), question_records("How long?"))
    assert record.answer == "said Answer: How long? (2)"
    assert record.usage == {"input_tokens": 3, "output_tokens": 2}
    assert states(record) == dict.fromkeys(("retrieve", "prompt", "model", "guard"), "computed")


def test_equal_questions_in_a_batch_are_computed_once(store: MemoryStore) -> None:
    with Runner(store=store) as runner:
        records = runner.run(rag_flow(), question_records("a", "a", "b"))
    assert (RUN_COUNTS["find"], RUN_COUNTS["say"]) == (2, 2)
    assert states(records[1])["model"] == "shared"
    assert records[1].usage == {}
    assert records[1].answer == records[0].answer


def test_a_second_run_computes_nothing(store: MemoryStore) -> None:
    with Runner(store=store) as runner:
        first = runner.run(rag_flow(), question_records("a", "b"), evaluators={"length": Length()})
        RUN_COUNTS.clear()
        again = runner.run(rag_flow(), question_records("a", "b"), evaluators={"length": Length()})
    assert not RUN_COUNTS
    assert [r.answer for r in again] == [r.answer for r in first]
    assert [r.scores for r in again] == [r.scores for r in first]
    assert again[0].usage == {}


def test_a_changed_prompt_runs_only_what_is_downstream(store: MemoryStore) -> None:
    with Runner(store=store) as runner:
        runner.run(rag_flow(), question_records("a"))
        [record] = runner.run(rag_flow(prompt=Write(text="Reply")), question_records("a"))
    assert states(record) == {"retrieve": "known", "prompt": "computed", "model": "computed", "guard": "computed"}


def test_a_change_that_changes_no_value_stops_there(store: MemoryStore) -> None:
    with Runner(store=store) as runner:
        runner.run(rag_flow(), question_records("a"))
        [record] = runner.run(rag_flow(retrieve=Find(k=2, pause=0.001)), question_records("a"))
    assert states(record) == {"retrieve": "computed", "prompt": "known", "model": "known", "guard": "known"}


def test_tenants_share_no_answer(store: MemoryStore) -> None:
    for tenant in ("a", "b"):
        with Runner(store=store, tenant=tenant) as runner:
            runner.run(rag_flow(), question_records("same"))
    assert RUN_COUNTS["say"] == 2


def test_random_answers_are_kept_by_sample_number_only(store: MemoryStore) -> None:
    flow = rag_flow(model=Say(temperature=0.7))
    with Runner(store=store) as runner:
        for sample in (None, None, 0, 0, 1):
            runner.run(flow, question_records("a", sample=sample))
    assert RUN_COUNTS["say"] == 4


def test_random_answers_without_a_number_are_drawn_for_each_record() -> None:
    with Runner() as runner:
        runner.run(rag_flow(model=Say(temperature=0.7)), question_records("a", "a", "a"))
    assert RUN_COUNTS["say"] == 3


def test_a_refusal_is_never_kept(store: MemoryStore) -> None:
    with Runner(store=store) as runner:
        for _ in range(2):
            runner.run(rag_flow(model=Say(refuses=True)), question_records("a"))
    assert RUN_COUNTS["say"] == 2


def test_a_failing_record_leaves_the_others_alone(store: MemoryStore) -> None:
    with Runner(store=store) as runner:
        bad, good = runner.run(rag_flow(model=Say(fails_on="bad")), question_records("bad", "good"))
    assert isinstance(bad.error, StageError)
    assert bad.error.stage == "model"
    assert "out of luck" in str(bad.error)
    assert good.error is None and good.answer
    assert bad.answer is None


def test_a_failure_is_tried_again_next_time(store: MemoryStore) -> None:
    with Runner(store=store) as runner:
        runner.run(rag_flow(model=Say(fails_on="bad")), question_records("bad"))
        runner.run(rag_flow(model=Say(fails_on="bad")), question_records("bad"))
    assert RUN_COUNTS["say"] == 2


def test_equal_questions_share_the_error_of_the_one_call() -> None:
    with Runner() as runner:
        records = runner.run(rag_flow(model=Say(fails_on="bad")), question_records("bad", "bad"))
    assert RUN_COUNTS["say"] == 1
    assert all(r.error is not None for r in records)


def test_a_block_ends_the_flow_with_the_refusal() -> None:
    flow = Flow(stages={"model": Say(), "guard": Guard(blocks="said"), "after": Guard()}, inputs=("messages",))
    with Runner() as runner:
        [record] = runner.run(flow, [Record.of("1", {"messages": [{"role": "user", "content": "x"}]})])
    assert record.answer == "I must not say that."
    assert record.ended == "guard"
    assert "after" not in states(record)


def test_a_blocked_answer_is_scored_like_any_other() -> None:
    with Runner() as runner:
        [record] = runner.run(
            rag_flow(guard=Guard(blocks="said")), question_records("a"), evaluators={"length": Length()}
        )
    assert record.scores == {"length": 0.2, "against": None}


def test_a_reask_goes_back_to_the_model_with_the_context_kept() -> None:
    with Runner() as runner:
        [record] = runner.run(rag_flow(guard=Guard(wants="please")), question_records("a"))
    assert record.answer == "said say please"
    messages = record.get("messages")
    assert [m["role"] for m in messages] == ["user", "assistant", "user"]
    assert messages[1]["content"] == "said Answer: a (2)"


def test_a_reask_that_does_not_help_ends_with_the_refusal() -> None:
    class Deaf(Say):
        def run(self, messages: list[dict[str, str]]) -> str:  # type: ignore[override]
            RUN_COUNTS["say"] += 1
            return "no"

    with Runner() as runner:
        [record] = runner.run(rag_flow(model=Deaf(), guard=Guard(wants="please")), question_records("a"))
    assert record.answer == "I cannot."
    assert RUN_COUNTS["say"] == 3


def test_a_fallback_answers_where_the_first_fails() -> None:
    model = Fallback(stages={"first": Say(fails_on="bad"), "second": Say(name="other")})
    flow = Flow(stages={"retrieve": Find(), "prompt": Write(), "model": model})
    with Runner() as runner:
        bad, good = runner.run(flow, question_records("bad", "good"))
    assert bad.error is None and bad.answer == "said Answer: bad (2)"
    assert states(bad) | states(good) == {
        "retrieve": "computed", "prompt": "computed", "model.first": "computed", "model.second": "computed"
    }  # fmt: skip


def test_a_fallback_notes_for_which_stage_it_answered_and_is_tried_after_it_again(store: MemoryStore) -> None:
    model = Fallback(stages={"first": Say(fails_on="bad"), "second": Say(name="other")})
    flow = Flow(stages={"retrieve": Find(), "prompt": Write(), "model": model})
    for _ in range(2):
        with Runner(store=store) as runner:
            [record] = runner.run(flow, question_records("bad"))
        span = record.spans[-1]
        assert (span.stage, span.state, span.notes["fallback_for"]) == ("model.second", "computed", "fake")
        assert "out of luck" in span.notes["fallback_reason"]


def test_a_fallback_holds_stages_only() -> None:
    with pytest.raises(ValidationError, match="'flow' must be a stage or a Fallback, got a Flow"):
        Fallback(stages={"flow": Flow(stages={"find": Find()})})


def test_parallel_stages_run_at_the_same_time() -> None:
    class Other(Find):
        writes = "more"

    flow = Flow(stages={"both": Parallel(stages={"a": Find(pause=0.2), "b": Other(pause=0.2)})})
    with Runner() as runner:
        begun = time.perf_counter()
        [record] = runner.run(flow, question_records("x"))
    assert time.perf_counter() - begun < 0.38
    assert {"documents", "more"} <= record.slots.keys()


def test_a_batch_stage_takes_many_records_in_one_call_and_fails_row_by_row() -> None:
    flow = Flow(stages={"retrieve": FindMany()})
    with Runner() as runner:
        good, bad = runner.run(flow, question_records("good", "bad"))
    assert RUN_COUNTS["batches"] == 1
    assert good.get("documents") == ["good"]
    assert "bad row" in str(bad.error)


def test_a_failing_evaluator_leaves_the_answer_alone() -> None:
    scorers = {"broken": Length(breaks=True), "length": Length()}
    with Runner() as runner:
        [record] = runner.run(rag_flow(), question_records("a"), evaluators=scorers)
    assert record.error is None
    assert states(record)["broken"] == "failed"
    assert record.scores["length"] is not None


def test_a_missing_slot_is_an_error_that_says_so() -> None:
    with Runner() as runner:
        [record] = runner.run(rag_flow(), [Record.of("1", {"text": "x"})])
    assert "'question'" in str(record.error)


def test_lost_bytes_are_computed_again(store: MemoryStore) -> None:
    with Runner(store=store) as runner:
        runner.run(rag_flow(), question_records("a"))
        store.forget_values()
        [record] = runner.run(rag_flow(guard=Guard(wants="said")), question_records("a"))
    assert record.error is None
    assert record.answer == "said Answer: a (2)"


def test_refresh_computes_again_and_keeps_the_new(store: MemoryStore) -> None:
    with Runner(store=store) as runner:
        runner.run(rag_flow(), question_records("a"))
    with Runner(store=store, cache=ExactCache(refresh=True)) as runner:
        [record] = runner.run(rag_flow(), question_records("a"))
    assert states(record)["model"] == "computed"


def test_a_normalized_cache_ignores_case_and_space_but_no_punctuation(store: MemoryStore) -> None:
    with Runner(store=store, cache=NormalizedCache()) as runner:
        for question in ("How  long?", "how long? ", "ＨＯＷ long?", "how long!"):
            runner.run(rag_flow(), question_records(question))
    assert RUN_COUNTS["say"] == 2


def test_fifty_threads_with_one_question_make_one_call(store: MemoryStore) -> None:
    flow, answers = rag_flow(model=Say(pause=0.1)), []

    def ask() -> None:
        answers.append(runner.run(flow, question_records("same"))[0].answer)

    with Runner(store=store) as runner:
        threads = [threading.Thread(target=ask) for _ in range(50)]
        [t.start() for t in threads]
        [t.join() for t in threads]
    assert RUN_COUNTS["say"] == 1
    assert set(answers) == {"said Answer: same (2)"}


def test_those_who_wait_learn_the_leaders_error(store: MemoryStore) -> None:
    flow, errors = rag_flow(model=Say(pause=0.2, fails_on="same")), []

    def ask() -> None:
        errors.append(runner.run(flow, question_records("same"))[0].error)

    with Runner(store=store) as runner:
        threads = [threading.Thread(target=ask) for _ in range(8)]
        [t.start() for t in threads]
        [t.join() for t in threads]
    assert RUN_COUNTS["say"] == 1
    assert all("out of luck" in str(e) for e in errors)


def test_runs_inside_a_running_event_loop() -> None:
    async def app() -> str:
        with Runner() as runner:
            [one] = await runner.arun(rag_flow(), question_records("a"))
            [two] = await asyncio.to_thread(runner.run, rag_flow(), question_records("a"))
            assert one.answer == two.answer
            return str(runner.run(rag_flow(), question_records("a"))[0].answer)

    assert asyncio.run(app()) == "said Answer: a (2)"


def test_cancelling_tells_the_stage_and_keeps_what_was_done(store: MemoryStore) -> None:
    flow = rag_flow(model=Say(pause=30))

    async def app() -> float:
        with Runner(store=store) as runner:
            task = asyncio.ensure_future(runner.arun(flow, question_records("a")))
            await asyncio.sleep(0.2)
            begun = time.perf_counter()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return time.perf_counter() - begun

    assert asyncio.run(app()) < 0.5
    with Runner(store=store) as runner:
        [record] = runner.run(rag_flow(model=Say(name="quick")), question_records("a"))
    assert states(record)["retrieve"] == "known"


def test_events_tell_the_story_in_order() -> None:
    class Listener:
        def __init__(self) -> None:
            self.seen: list[Event] = []

        def on(self, event: Event) -> None:
            self.seen.append(event)

        def close(self) -> None: ...

    listener = Listener()
    with Runner(sinks=[listener]) as runner:
        runner.run(rag_flow(), question_records("a"))
    kinds = [e.kind for e in listener.seen]
    assert kinds[0] == "run_started" and kinds[-1] == "run_finished"
    assert [e.stage for e in listener.seen if e.kind == "stage_finished"] == ["retrieve", "prompt", "model", "guard"]
    assert "".join(e.data["text"] for e in listener.seen if e.kind == "token") == "said Answer: a (2)"


def test_a_sink_that_raises_never_hurts_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def on(self, event: Event) -> None:
            raise OSError("no disk")

        def close(self) -> None: ...

    with Runner(sinks=[Broken()]) as runner:
        [record] = runner.run(rag_flow(), question_records("a"))
    assert record.answer
    assert caplog.text.count("no disk") == 1
