"""The embedded model: its answers, its limits, what it says when something is wrong."""

from __future__ import annotations

import json
import os
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmops_flows import BackendError, DeadlineExceeded, Flow, Outcome, Record, Runner
from llmops_flows.components.model import llamacpp
from llmops_flows.components.model.llamacpp import LlamaCpp
from llmops_flows.components.model.smollm2 import SmolLM2
from llmops_flows.core.stage import Call

HELLO: Any = [{"role": "user", "content": "Say hello"}]
LONG: Any = [{"role": "user", "content": "Tell a long story about a dragon who learns to cook."}]


@pytest.fixture(scope="module")
def held() -> SmolLM2:
    """Keeps one loaded server for the module: those that differ in how they ask share it."""
    model = small()
    model.engine.running()
    return model


@pytest.fixture(autouse=True)
def loaded(held: SmolLM2) -> None:
    """Loading does not count into deadlines."""


def small(**fields: Any) -> SmolLM2:
    return SmolLM2(**{"threads": 1, "max_tokens": 12, "context": 512, "slots": 2, **fields})


def test_an_answer_comes_in_pieces_with_its_tokens_counted() -> None:
    shown: list[str] = []
    found = small().run(HELLO, Call(token=shown.append))
    assert len(shown) > 3
    assert "".join(shown).strip() == found.value
    assert found.usage["output_tokens"] == 12
    assert found.usage["total_tokens"] == found.usage["input_tokens"] + 12
    assert found.notes == {"model": "smollm2", "finish_reason": "length"}


def test_a_stop_string_ends_the_answer_and_is_no_part_of_it() -> None:
    whole = small().run(HELLO, Call()).value
    word = whole.split()[2]
    found = small(stop=(word,)).run(HELLO, Call())
    assert found.value == whole.partition(word)[0].strip()
    assert found.notes["finish_reason"] == "stop"


def test_a_seed_makes_a_random_answer_repeatable() -> None:
    one, again, other = (small(temperature=1.5, seed=seed).run(HELLO, Call()).value for seed in (1, 1, 2))
    assert one == again != other


def test_an_answer_keeps_to_a_json_schema() -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    found = small(json_schema=schema, max_tokens=40).run(HELLO, Call())
    assert isinstance(json.loads(found.value)["ok"], bool)


def test_half_of_a_json_value_is_no_answer() -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    with pytest.raises(BackendError, match="max_tokens=3 before its JSON was complete"):
        small(json_schema=schema, max_tokens=3).run(HELLO, Call())


def test_a_schema_that_makes_no_sense_is_told() -> None:
    with pytest.raises(BackendError, match=r"refused the request: JSON schema error.*whatever") as caught:
        small(json_schema={"type": "whatever"}).run(HELLO, Call())
    assert (caught.value.status, caught.value.retryable) == (400, False)


def test_too_long_a_prompt_names_the_tokens_and_the_context() -> None:
    with pytest.raises(BackendError, match=r"has \d+ tokens, more than the 512 that smollm2 accepts") as caught:
        small().run([{"role": "user", "content": "word " * 600}], Call())
    assert "model.context" in str(caught.value)
    assert caught.value.status == 400


def test_equal_answers_come_from_every_slot_and_a_batch_uses_several() -> None:
    order: list[str] = []
    flow = Flow(stages={"model": small()}, inputs=("messages",))

    class Stopwatch:
        def on(self, event: Any) -> None:
            if event.kind == "token":
                order.append(event.record_id)

        def close(self) -> None:
            pass

    asked = [Record.of(str(n), {"messages": [{"role": "user", "content": f"Say {n}"}]}) for n in range(4)]
    with Runner(sinks=[Stopwatch()]) as runner:
        batch = [record.answer for record in runner.run(flow, asked)]
    alone = [small().run(record.get("messages"), Call()).value for record in asked]
    assert batch == alone
    changes = sum(one != other for one, other in pairwise(order))
    assert changes > 10, "the answers were made one after the other"


CPU_SECONDS = 2.5
"""Processor time that a call may use that ends after 0.3 s. The whole answer takes several times as much."""


def cpu_seconds_of_a_pause() -> float:
    before = time.process_time()
    time.sleep(0.2)
    return time.process_time() - before


@pytest.mark.parametrize(
    "prompt", [LONG, [{"role": "user", "content": "word number " * 200}]], ids=["answer", "prompt"]
)
def test_cancelling_really_stops_the_work(prompt: Any) -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    before = time.process_time()
    with pytest.raises(BackendError, match="cancelled"):
        small(max_tokens=450).run(prompt, Call(cancelled=stop.is_set))
    assert time.process_time() - before < CPU_SECONDS
    assert any(cpu_seconds_of_a_pause() < 0.05 for _ in range(40)), "the server still decodes"


@pytest.mark.parametrize(
    "prompt", [LONG, [{"role": "user", "content": "word number " * 200}]], ids=["answer", "prompt"]
)
def test_a_deadline_ends_the_work(prompt: Any) -> None:
    before = time.process_time()
    with pytest.raises(DeadlineExceeded, match=r"smollm2 did not answer within 0\.(3|2\d*) s"):
        small(max_tokens=450).run(prompt, Call(deadline=time.monotonic() + 0.3))
    assert time.process_time() - before < CPU_SECONDS


def test_the_limits_end_a_call_that_has_no_deadline() -> None:
    with pytest.raises(DeadlineExceeded, match=r"within 0\.(2|1\d*) s"):
        small(max_tokens=450, limits={"timeout": 0.2}).run(LONG, Call())


def test_who_waits_for_a_slot_sees_the_deadline_too() -> None:
    running = small().engine.running()
    checked = lambda: None  # noqa: E731
    with running.slot(checked), running.slot(checked), pytest.raises(DeadlineExceeded):
        small().run(HELLO, Call(deadline=time.monotonic() + 0.2))


def test_an_error_of_the_listener_ends_the_work_and_is_raised() -> None:
    def broken(piece: str) -> None:
        raise RuntimeError("the listener broke")

    with pytest.raises(RuntimeError, match="the listener broke"):
        small(max_tokens=450).run(LONG, Call(token=broken))


def test_its_port_answers_nobody_else() -> None:
    address = small().engine.running().server.listening_address
    asked = httpx.post(f"{address}/v1/chat/completions", json={"messages": HELLO, "max_tokens": 1}, trust_env=False)
    assert asked.status_code == 401
    assert address.startswith("http://127.0.0.1:")


def test_the_identity_is_the_content_of_the_file_wherever_it_lies(tmp_path: Path) -> None:
    one, other = tmp_path / "a.gguf", tmp_path / "elsewhere.gguf"
    one.write_bytes(b"GGUF one")
    other.write_bytes(b"GGUF one")
    assert LlamaCpp(path=one).identity == LlamaCpp(path=other).identity
    assert LlamaCpp(path=one).engine.configuration == LlamaCpp(path=other).engine.configuration
    assert str(tmp_path) not in json.dumps(LlamaCpp(path=one).fingerprint(include_operational=True))
    other.write_bytes(b"GGUF two")
    os.utime(other, ns=(1, 1))
    assert LlamaCpp(path=one).identity != LlamaCpp(path=other).identity


def test_a_large_file_is_read_once(tmp_path: Path) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(b"GGUF" + bytes(1000))
    before = llamacpp._digest.cache_info()
    for seed in range(5):
        LlamaCpp(path=file, seed=seed).identity
    after = llamacpp._digest.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 4)


def test_threads_and_slots_decide_no_answer_but_the_context_does() -> None:
    assert small(slots=1, threads=2).identity == small().identity
    assert small(context=256).identity != small().identity


def test_models_that_differ_in_how_they_ask_share_one_server() -> None:
    assert small(seed=5).engine.running() is small(stop=("x",)).engine.running()


@pytest.mark.parametrize("content", [b"", b"GGUF damaged " * 50])
def test_a_file_that_cannot_be_loaded_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(content)
    with pytest.raises(BackendError, match=r"broken\.gguf.*is damaged"):
        LlamaCpp(path=file).run(HELLO, Call())


def test_a_file_that_is_cut_short_is_named(smollm2_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "half.gguf"
    with smollm2_file.open("rb") as whole:
        file.write_bytes(whole.read(8_000_000))
    with pytest.raises(BackendError, match=r"half\.gguf.*8,000,000 bytes"):
        LlamaCpp(path=file).run(HELLO, Call())


def test_any_file_of_the_kind_answers_like_the_embedded_one(smollm2_file: Path) -> None:
    own = LlamaCpp(path=smollm2_file, threads=1, max_tokens=12, context=512, slots=2)
    found: Outcome = own.run(HELLO, Call())
    assert found.value == small().run(HELLO, Call()).value
    assert found.notes["model"] == "llamacpp"
