"""A semantic cache answers from a question that means the same, and from no other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops_flows import Record, Runner
from llmops_flows.components.cache.semantic import QuestionLog, SemanticCache
from llmops_flows.report.summary import results_row, stages
from llmops_flows.stores.memory_store import MemoryStore
from llmops_flows.stores.sqlite_store import SQLiteStore
from llmops_flows.testing.embedders import WordVectors
from llmops_flows.testing.fakes import FailingStore
from llmops_flows.text.question_match import same_facts
from tests.support.stub_stages import RUN_COUNTS, Find, Guard, Length, Say, Write, question_records, rag_flow, states

FIRST = "How do I reset the password of my account?"
SAME = "How can I reset the password for my account?"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    RUN_COUNTS.clear()
    yield


def cache(**fields: object) -> SemanticCache:
    return SemanticCache(embedder=WordVectors(dimensions=512), **{"threshold": 0.9, **fields})  # type: ignore[arg-type]


def test_a_question_that_means_the_same_gets_the_earlier_answer_and_says_so() -> None:
    with Runner(store=MemoryStore(), cache=cache()) as runner:
        [first] = runner.run(rag_flow(), question_records(FIRST))
        [record] = runner.run(rag_flow(), question_records(SAME), evaluators={"length": Length()})
    assert record.answer == first.answer
    assert record.get("question") == SAME
    assert {n: s for n, s in states(record).items() if n != "length"} == dict.fromkeys(states(first), "similar")
    assert RUN_COUNTS["say"] == 1 and record.usage == {}
    assert record.spans[0].notes["similar_question"] == FIRST
    assert record.spans[0].notes["similarity"] >= 0.9
    assert results_row(record)["similar_to"] == FIRST
    assert stages([record])["model"] == {"similar": 1}
    assert record.scores["length"] is not None  # it is scored for what it was asked


def test_a_similar_answer_never_stands_for_the_questions_own() -> None:
    """What was taken is not kept under the later question; without the cache that one is answered by itself."""
    store = MemoryStore()
    with Runner(store=store, cache=cache()) as runner:
        runner.run(rag_flow(), question_records(FIRST, SAME))  # at once: neither is earlier
        assert RUN_COUNTS["say"] == 2
        runner.run(rag_flow(), question_records("How could I reset the password of an account?"))
    with Runner(store=store) as runner:
        [record] = runner.run(rag_flow(), question_records("How could I reset the password of an account?"))
    assert record.answer == "said Answer: How could I reset the password of an account? (2)"


def test_what_was_asked_before_word_for_word_is_known_not_similar() -> None:
    with Runner(store=MemoryStore(), cache=cache()) as runner:
        runner.run(rag_flow(), question_records(FIRST, SAME))
        [record] = runner.run(rag_flow(), question_records(SAME))
    assert set(states(record).values()) == {"known"}
    assert SAME in record.answer


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": Write(text="Reply")},
        {"model": Say(name="other")},
        {"retrieve": Find(k=3)},
        {"guard": Guard(wants="")},
    ],
    ids=["prompt", "model", "documents", "policy"],
)
def test_only_the_question_may_differ(change: dict[str, object]) -> None:
    if "guard" in change:
        change = {"guard": Guard(blocks="forbidden")}
    with Runner(store=MemoryStore(), cache=cache()) as runner:
        runner.run(rag_flow(), question_records(FIRST))
        [record] = runner.run(rag_flow(**change), question_records(SAME))  # type: ignore[arg-type]
    assert "similar" not in states(record).values()


def test_tenants_share_nothing() -> None:
    store = MemoryStore()
    for tenant, question in (("a", FIRST), ("b", SAME)):
        with Runner(store=store, cache=cache(), tenant=tenant) as runner:
            [record] = runner.run(rag_flow(), question_records(question))
    assert RUN_COUNTS["say"] == 2
    assert "similar" not in states(record).values()


def test_every_other_slot_must_be_equal() -> None:
    class Talk(Find):
        def run(self, question: str, history: str = "") -> list[dict[str, object]]:  # type: ignore[override]
            return [{"id": "1", "page_content": history, "metadata": {}}]

    flow = rag_flow(retrieve=Talk())
    with Runner(store=MemoryStore(), cache=cache()) as runner:
        for question, history in ((FIRST, "about the bank"), (SAME, "about the shop")):
            [record] = runner.run(flow, [Record.of("1", {"question": question, "history": history})])
    assert "similar" not in states(record).values()


def test_a_blocked_or_failed_question_is_nobodys_answer() -> None:
    with Runner(store=MemoryStore(), cache=cache()) as runner:
        for flow in (rag_flow(guard=Guard(blocks="said")), rag_flow(model=Say(fails_on="reset"))):
            runner.run(flow, question_records(FIRST))
            [record] = runner.run(flow, question_records(SAME))
            assert "similar" not in states(record).values()


def test_what_is_drawn_at_random_is_nobodys_answer() -> None:
    with Runner(store=MemoryStore(), cache=cache()) as runner:
        for question in (FIRST, SAME):
            [record] = runner.run(rag_flow(model=Say(temperature=0.7)), question_records(question))
    assert states(record)["model"] == "computed"


def test_it_works_across_runners_and_handles_of_one_store(tmp_path: Path) -> None:
    for question in (FIRST, SAME):
        store = SQLiteStore(tmp_path / "store.sqlite")
        with Runner(store=store, cache=cache()) as runner:
            [record] = runner.run(rag_flow(), question_records(question))
        store.close()
    assert set(states(record).values()) == {"similar"}


def test_an_answer_whose_bytes_were_lost_is_computed_for_the_question_itself() -> None:
    store = MemoryStore()
    with Runner(store=store, cache=cache()) as runner:
        runner.run(rag_flow(), question_records(FIRST))
        store.forget_values()
        [record] = runner.run(rag_flow(), question_records(SAME))
    assert record.error is None
    assert SAME in record.answer


def test_refresh_takes_nothing() -> None:
    store = MemoryStore()
    for refresh, question in ((False, FIRST), (True, SAME)):
        with Runner(store=store, cache=cache(refresh=refresh)) as runner:
            [record] = runner.run(rag_flow(), question_records(question))
    assert set(states(record).values()) == {"computed"}


def test_a_store_in_trouble_costs_no_answer() -> None:
    with Runner(store=FailingStore(MemoryStore(), "entries", "put", "lease"), cache=cache()) as runner:
        records = runner.run(rag_flow(), question_records(FIRST, SAME))
    assert all(record.error is None for record in records)


def test_a_question_with_a_secret_is_not_written_down(tmp_path: Path) -> None:
    secret = "sk-proj-" + "a1B2c3D4e5F6g7H8"
    store = SQLiteStore(tmp_path / "store.sqlite")
    cache().remember([f"Is {secret} valid?"], "scope", store)
    store.close()
    assert all(secret.encode() not in file.read_bytes() for file in tmp_path.iterdir())


def test_of_many_that_write_at_once_none_is_lost() -> None:
    store = MemoryStore()

    def write(n: int) -> None:
        log = QuestionLog("s", store)
        for m in range(20):
            log.append(f"question {n}.{m}")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log = QuestionLog("s", store)
    log.read()
    assert len(log.questions) == 120


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Delete user 17", "Delete user 71"),
        ("Delete two users", "Delete three users"),
        ("Is it covered?", "Is it not covered?"),
        ("Can I pay?", "Can't I pay?"),
        ("How do I enable it?", "How do I disable it?"),
        ("Fees before March", "Fees after March"),
        ("What does Anna earn?", "What does Bob earn?"),
        ("Is the Standard plan good?", "Is the Plus plan good?"),
        ("What is a 'copay'?", "What is a 'premium'?"),
        ("What does `open()` do?", "What does `close()` do?"),
        ("Set max_tokens", "Set min_tokens"),
        ("Costs in $", "Costs in €"),
        ("Is it -5?", "Is it 5?"),
        ("Move it from savings to checking", "Move it from checking to savings"),
        ("Convert 100 euros to dollars", "Convert 100 dollars to euros"),
        ("Does the dog bite the man?", "Does the man bite the dog?"),
    ],
)
def test_facts_that_differ_are_seen(one: str, other: str) -> None:
    assert not same_facts(one, other)
    assert not same_facts(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (FIRST, SAME),
        ("Delete 2 users", "Delete two users"),
        ("It doesn’t work", "It does not work"),
        ("Who is Anna", "who is anna"),
    ],
)
def test_facts_that_are_the_same_are_taken_for_the_same(one: str, other: str) -> None:
    assert same_facts(one, other)
