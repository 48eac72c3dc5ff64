"""What is kept is never mixed up, and trouble of the store costs no answer."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from llmops_flows import Flow, Outcome, Record, Runner, Stage
from llmops_flows.components.cache.none import NoCache
from llmops_flows.components.cache.normalized import normalize
from llmops_flows.core.cache_policy import CachePolicy
from llmops_flows.core.fingerprint import digest
from llmops_flows.core.record import Slot
from llmops_flows.core.store import Entry
from llmops_flows.engine.answers.answer_cache import AnswerCache
from llmops_flows.engine.answers.resilient_store import MAX_PENDING_BYTES, RETRY_SECONDS, ResilientStore
from llmops_flows.stores.memory_store import MemoryStore
from llmops_flows.stores.sqlite_store import SQLiteStore
from llmops_flows.testing.clock import FakeClock
from llmops_flows.testing.fakes import FailingStore
from tests.support.file_damage import read_only, small_disk
from tests.support.stub_stages import RUN_COUNTS, Say, Write, question_records, rag_flow, states


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    RUN_COUNTS.clear()
    yield


class Policy(Stage):
    """An answer that depends on everything it is configured with and reads."""

    writes: ClassVar[str] = "answer"
    inline: ClassVar[bool] = True
    model: str = "m"
    prompt: str = "p"
    rules: tuple[str, ...] = ()
    temperature: float = 0.0

    @property
    def random(self) -> bool:
        return self.temperature > 0

    def run(self, question: str, documents: list[Any], history: str = "") -> str:
        return digest(self.model, self.prompt, *self.rules, str(self.temperature), question, str(documents), history)


PARTS = ("tenant", "model", "prompt", "rules", "temperature", "question", "documents", "history", "sample")


def other(parts: dict[str, Any], name: str, chance: random.Random) -> dict[str, Any]:
    """The same, but for one part."""
    word = f"{chance.choice(('x', ' ', '0', ':', '|', 'é'))}{chance.randrange(10**9)}"
    value: Any = {
        "rules": (*parts["rules"], word),
        "documents": [*parts["documents"], {"id": word, "page_content": "", "metadata": {}}],
        "temperature": round(chance.uniform(0.1, 2), 6),
        "sample": chance.randrange(1, 10**6),
    }.get(name, f"{parts[name]}{word}")
    return {**parts, name: value}


def key(parts: dict[str, Any]) -> str:
    stage = Policy(**{name: parts[name] for name in ("model", "prompt", "rules", "temperature")})
    read = {name: Slot.of(parts[name]).address for name in ("question", "documents", "history")}
    return stage.key(read, tenant=parts["tenant"], sample=parts["sample"])


@pytest.mark.parametrize("pairs", [2_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_what_differs_in_one_part_never_shares_an_answer(pairs: int, tmp_path: Path) -> None:
    chance, store = random.Random(5), SQLiteStore(tmp_path / "store.sqlite")
    start = {"tenant": "", "model": "m", "prompt": "p", "rules": (), "temperature": 0.5,
             "question": "q", "documents": [], "history": "", "sample": 0}  # fmt: skip
    kept: dict[str, bytes] = {}
    asked: list[tuple[str, str]] = []
    for _ in range(pairs):
        one = other(start, chance.choice(PARTS), chance)
        name = chance.choice(PARTS)
        asked.append((key(one), key(other(one, name, chance))))
        kept[asked[-1][0]] = asked[-1][0].encode()
    store.put({k: Entry(digest(v)) for k, v in kept.items()}, {digest(v): v for v in kept.values()})
    wrong = [k for pair in asked for k in [pair[1]] if k in kept]
    assert not wrong
    found = store.entries([pair[1] for pair in asked])
    assert not found
    assert len(store.entries([pair[0] for pair in asked])) == len(kept) == len({pair[0] for pair in asked})
    store.close()


def test_a_sample_number_does_not_part_what_is_not_drawn() -> None:
    start = {"tenant": "", "model": "m", "prompt": "p", "rules": (), "temperature": 0.0,
             "question": "q", "documents": [], "history": "", "sample": 0}  # fmt: skip
    assert key(start) == key({**start, "sample": 1})


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"tenant": "a", "question": "bc"}, {"tenant": "ab", "question": "c"}),
        ({"model": "a", "prompt": "bc"}, {"model": "ab", "prompt": "c"}),
        ({"question": "a", "history": "b"}, {"question": "b", "history": "a"}),
        ({"rules": ("a", "b")}, {"rules": ("ab",)}),
    ],
)
def test_where_one_part_ends_and_the_next_begins_counts(one: dict[str, Any], two: dict[str, Any]) -> None:
    start = {"tenant": "", "model": "m", "prompt": "p", "rules": (), "temperature": 0.0,
             "question": "q", "documents": [], "history": "", "sample": 0}  # fmt: skip
    assert key({**start, **one}) != key({**start, **two})


# -- normalized ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("How  long?", "how long? "),
        ("ＨＯＷ long?", "how long?"),
        ("Büro\nzeiten", "BÜRO zeiten"),
        ("e\u0301t\u00e9", "\u00e9te\u0301"),
    ],
)
def test_what_never_changes_the_meaning_is_put_aside(one: str, two: str) -> None:
    assert normalize(one) == normalize(two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("10²", "102"),
        ("1½ years", "11/2 years"),
        ("H₂O", "H2O"),
        ("in Maßen", "in Massen"),
        ("why?", "why!"),
        ("a-b", "a b"),
        ("-5", "5"),
        ("1.5", "15"),
        ("'plan'", "plan"),
    ],
)
def test_what_changes_the_meaning_stays(one: str, two: str) -> None:
    assert normalize(one) != normalize(two)


# -- a store in trouble ----------------------------------------------------------------------------------------------


def test_rows_that_cannot_be_written_are_known_and_written_later() -> None:
    inner, clock, told = MemoryStore(), FakeClock(), []
    failing = FailingStore(inner, "put", "lease", "release")
    store = ResilientStore(failing, lambda topic, text: told.append(text), clock=clock.now)
    one, two = ({f"k{n}": Entry(digest(b"%d" % n))} for n in (1, 2))
    store.put(one, {digest(b"1"): b"1"})
    assert store.entries(["k1"]) == one
    assert store.values([digest(b"1")]) == {digest(b"1"): b"1"}
    assert store.lease(["k9"], "me", seconds=1)["k9"].granted
    assert inner.entries(["k1"]) == {}
    store.put(two, {digest(b"2"): b"2"})
    assert failing.calls["put"] == 1  # it is left alone for a while
    failing.failing.clear()
    clock.time += RETRY_SECONDS + 1
    store.put({}, {})
    assert inner.entries(["k1", "k2"]) == {**one, **two}
    assert told and all("no space left" in text for text in told)


def test_what_waits_for_a_store_is_bounded() -> None:
    store = ResilientStore(FailingStore(MemoryStore(), "put"), lambda topic, text: None)
    data = b"x" * (MAX_PENDING_BYTES // 2)
    for n in range(4):
        store.put({f"k{n}": Entry(str(n))}, {str(n): data})
    assert len(store.entries([f"k{n}" for n in range(4)])) == 2


@pytest.mark.parametrize("failing", [("entries",), ("values",), ("put",), ("lease",), ("entries", "put", "lease")])
def test_a_store_that_fails_costs_no_answer(failing: tuple[str, ...], caplog: pytest.LogCaptureFixture) -> None:
    store = FailingStore(MemoryStore(), *failing)
    with Runner(store=store) as runner:
        for _ in range(2):
            records = runner.run(rag_flow(), question_records("a", "b"))
            assert [record.answer for record in records] == ["said Answer: a (2)", "said Answer: b (2)"]
    kinds = {"read" if name in ("entries", "values") else "write" for name in failing if store.calls[name]}
    assert caplog.text.count("no space left") == len(kinds)


def test_a_home_that_cannot_be_written_costs_a_warning_and_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "home").mkdir()
    with read_only(tmp_path / "home"), Runner(store=SQLiteStore(tmp_path / "home" / "store.sqlite")) as runner:
        records = runner.run(rag_flow(), question_records("a", "b"))
    assert all(record.error is None for record in records)
    assert "store.sqlite" in caplog.text


def test_what_a_store_that_can_only_be_read_knows_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "home" / "store.sqlite"
    store = SQLiteStore(path)
    with Runner(store=store) as runner:
        runner.run(rag_flow(), question_records("a"))
    store.close()
    RUN_COUNTS.clear()
    with read_only(tmp_path / "home"), Runner(store=SQLiteStore(path)) as runner:
        old, new = runner.run(rag_flow(), question_records("a", "b"))
        assert states(old)["model"] == "known" and states(new)["model"] == "computed"
        assert RUN_COUNTS["say"] == 1
    assert "not stored" in caplog.text


def test_a_full_disk_loses_no_finished_row_and_is_gone_on_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        store = SQLiteStore(disk / "store.sqlite")
        long = [f"{n} " + random.Random(n).randbytes(1_200).hex() for n in range(40)]
        with Runner(store=store) as runner:
            runner.run(rag_flow(), question_records(*long[:5]))
            filler = disk / "filler"
            with pytest.raises(OSError), filler.open("wb") as file:
                while True:
                    file.write(bytes(4096))
                    file.flush()
            during = runner.run(rag_flow(), question_records(*long))
            assert all(record.error is None for record in during)
            assert "not stored" in caplog.text and "full" in caplog.text
            assert RUN_COUNTS["say"] == 40  # the first five were known
            filler.unlink()
            caplog.clear()
            runner.run(rag_flow(), question_records("space is back"))
            assert store.stats().entries > 30
        again = SQLiteStore(disk / "store.sqlite")
        assert again.verify().lost == {}
        RUN_COUNTS.clear()
        with Runner(store=again) as runner:
            runner.run(rag_flow(), question_records(*long[:5], "space is back"))
        assert RUN_COUNTS["say"] == 0
        store.close()
        again.close()


def test_lost_bytes_are_computed_again_where_a_guardrail_wrote_the_answer_anew() -> None:
    store = MemoryStore()
    with Runner(store=store) as runner:
        [first] = runner.run(rag_flow(), question_records("a"))
        store.forget_values()
        [record] = runner.run(rag_flow(), question_records("a"))
    assert record.answer == first.answer
    assert set(states(record).values()) == {"computed"}
    assert RUN_COUNTS == {"find": 2, "write": 2, "say": 2, "guard": 2}


# -- secrets ---------------------------------------------------------------------------------------------------------


def test_an_answer_with_a_secret_is_never_written_and_that_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "sk-proj-" + "a1B2c3D4e5F6g7H8"
    store = SQLiteStore(tmp_path / "store.sqlite")
    flow = rag_flow(prompt=Write(text=f"The key is {secret}"), model=Say())
    with Runner(store=store, sinks=[]) as runner:
        for _ in range(2):
            [record] = runner.run(flow, question_records("a"))
            assert secret in record.answer
    store.close()
    assert (RUN_COUNTS["find"], RUN_COUNTS["say"]) == (1, 2)
    assert all(secret.encode() not in file.read_bytes() for file in tmp_path.iterdir())
    assert caplog.text.count("'model' seems to contain a secret") == 1


def test_a_secret_in_the_notes_is_not_written_either(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    log = logging.getLogger("llmops_flows")
    answers = AnswerCache(store, CachePolicy(), lambda topic, text: log.warning(text))
    outcome = Outcome("fine", notes={"header": "Bearer abcdefghijklmnopqrstuvwxyz012345"})
    answers.add("k", outcome, 0.1, cacheable=True, stage="model")
    assert store.entries(["k"]) == {}
    assert "secret" in caplog.text


def test_without_a_cache_nothing_is_looked_up_or_kept() -> None:
    store = MemoryStore()
    with Runner(store=store, cache=NoCache()) as runner:
        for _ in range(2):
            runner.run(Flow(stages={"say": Say()}, inputs=("messages",)),
                       [Record.of("1", {"messages": [{"role": "user", "content": "x"}]})])  # fmt: skip
    assert RUN_COUNTS["say"] == 2
