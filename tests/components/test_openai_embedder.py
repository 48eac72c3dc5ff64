"""Embeddings over OpenAI's protocol, against a server on loopback."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from llmops_flows import Flow, Record, Runner, Stage
from llmops_flows.calls.budget_account import Budget
from llmops_flows.calls.budget_reservation import BudgetMeter
from llmops_flows.calls.call_context import CallContext, call_context
from llmops_flows.calls.gate import Gate
from llmops_flows.components.embedder.openai import OpenAIEmbeddings
from llmops_flows.components.embedder.sentence_transformers import SentenceTransformers
from llmops_flows.core.errors import (
    BackendError,
    BudgetExceeded,
    ConfigError,
    DeadlineExceeded,
    MissingExtra,
    StageError,
)
from llmops_flows.core.limits import Limits
from llmops_flows.core.roles import Embedder, Prices
from llmops_flows.stores.memory_store import MemoryLedger
from llmops_flows.testing.embedders import EmbedderContract, WordVectors
from tests.support.http_server import StubResponse, StubServer


class Service(ThreadingHTTPServer):
    """Gives word vectors; `failing` is the status with which it refuses, `requests` what it was asked."""

    def __init__(self) -> None:
        self.failing = 0
        self.requests: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(asked)
        rows = WordVectors().embed(asked["input"]).tolist()
        data = [{"object": "embedding", "index": n, "embedding": row} for n, row in reversed(list(enumerate(rows)))]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        answer: Any = {"object": "list", "data": data, "model": asked["model"], "usage": usage}
        if self.server.failing:
            answer = {"error": {"message": "no", "type": "x"}}
        body = json.dumps(answer).encode()
        self.send_response(self.server.failing or 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    server = Service()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def service(running: Service) -> Service:
    running.failing = 0
    running.requests.clear()
    return running


class TestOpenAI(EmbedderContract):
    url: str

    @pytest.fixture(autouse=True)
    def where(self, service: Service) -> None:
        type(self).url = service.url

    def embedder(self) -> Embedder:
        return OpenAIEmbeddings(base_url=self.url, dimensions=64)


def test_texts_go_in_batches_and_come_back_in_order(service: Service) -> None:
    texts = [f"word{n}" for n in range(5)]
    vectors = OpenAIEmbeddings(base_url=service.url, batch=2).embed(texts)
    assert [asked["input"] for asked in service.requests] == [texts[:2], texts[2:4], texts[4:]]
    assert (vectors == WordVectors().embed(texts)).all() or abs(vectors - WordVectors().embed(texts)).max() < 1e-6


@pytest.mark.parametrize(("status", "requests", "retryable"), [(400, 1, False), (401, 1, False), (500, 2, True)])
def test_a_refusal_is_told_and_only_tried_again_where_that_can_help(
    service: Service, status: int, requests: int, retryable: bool
) -> None:
    service.failing = status
    with pytest.raises(BackendError) as caught:
        OpenAIEmbeddings(base_url=service.url, limits=Limits(attempts=2)).embed(["x"])
    assert (caught.value.status, caught.value.retryable) == (status, retryable)
    assert len(service.requests) == requests


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"\x00 garbage", "application/json", "returned a response that is not JSON"),
        (b"<html>Log in</html>", "text/html", "returned no vectors"),
        (b"{}", "application/json", "returned no vectors"),
        (b"null", "application/json", "returned no vectors"),
    ],
)
def test_what_is_no_answer_of_the_protocol_is_told(body: bytes, kind: str, words: str) -> None:
    told = pytest.raises(BackendError, match=f"{words}; check base_url")
    with StubServer(StubResponse(body=body, headers={"Content-Type": kind})) as server, told:
        OpenAIEmbeddings(base_url=server.url, limits=Limits(attempts=1)).embed(["x"])


def test_every_request_is_charged_to_the_budget_and_none_starts_beyond_it(service: Service) -> None:
    embedder = OpenAIEmbeddings(base_url=service.url, batch=1, prices=Prices(input=1000), limits=Limits(attempts=2))
    meter = BudgetMeter(Budget(usd=0.5), MemoryLedger(), "one")
    with call_context(CallContext(Gate(), meter)):
        embedder.embed(["two words"] * 3)
        assert meter.statement().usd == 0.003  # the service reports one token for each
        service.failing = 401
        with pytest.raises(BackendError):
            embedder.embed(["two words"])
        assert meter.statement().usd == 0.003
        service.failing = 500
        with pytest.raises(BackendError):
            embedder.embed(["two words"])
        assert meter.statement().unknown == 2 and 0.02 < meter.statement().usd < 0.3
        requests = len(service.requests)
        with pytest.raises(BudgetExceeded, match="used up"):
            embedder.embed(["long " * 200])
    assert len(service.requests) == requests


def test_the_deadline_of_the_stage_call_ends_an_embedding() -> None:
    started = time.monotonic()
    context = call_context(CallContext(Gate(), deadline=started + 0.3))
    with StubServer(StubResponse(hang=True)) as server, context, pytest.raises(DeadlineExceeded):
        OpenAIEmbeddings(base_url=server.url).embed(["x"])
    assert 0.25 < time.monotonic() - started < 2


def test_cancelling_the_stage_call_ends_an_embedding() -> None:
    cancelled = threading.Event()
    threading.Timer(0.2, cancelled.set).start()
    started = time.monotonic()
    context = call_context(CallContext(Gate(), cancelled=cancelled.is_set))
    with StubServer(StubResponse(hang=True)) as server, context, pytest.raises(StageError, match="cancelled"):
        OpenAIEmbeddings(base_url=server.url).embed(["x"])
    assert time.monotonic() - started < 2


def test_embedders_keep_the_rate_and_the_breaker_of_their_service(service: Service) -> None:
    embedder = OpenAIEmbeddings(base_url=service.url, batch=1, limits=Limits(requests_per_minute=600, attempts=1))
    with call_context(CallContext(Gate(failures=2))):
        started = time.monotonic()
        embedder.embed(["a", "b", "c"])
        assert time.monotonic() - started >= 0.2
        service.failing = 500
        for _ in range(2):
            with pytest.raises(BackendError, match="500"):
                embedder.embed(["x"])
        with pytest.raises(BackendError, match="is not called for"):
            embedder.embed(["x"])
    assert len(service.requests) == 5


def test_the_cost_of_embeddings_in_a_run_is_booked(service: Service) -> None:
    class Embed(Stage):
        writes = "documents"
        embedder: OpenAIEmbeddings

        def run(self, question: str) -> list[float]:
            row: list[float] = self.embedder.embed([question])[0].tolist()
            return row

    embedder = OpenAIEmbeddings(base_url=service.url, prices=Prices(input=1000))
    meter = BudgetMeter(Budget(usd=1), MemoryLedger(), "one")
    with Runner(gate=Gate(), budget_meter=meter) as runner:
        records = [Record.of(str(n), {"question": f"question {n}"}) for n in range(4)]
        runner.run(Flow(stages={"embed": Embed(embedder=embedder)}), records)
    assert all(record.error is None for record in records)
    assert meter.statement().usd == 0.004


def test_prices_come_from_the_list() -> None:
    listed = {"text-embedding-3-small": {"input": 0.02}}
    assert OpenAIEmbeddings(prices={"input": None}, price_list=listed).prices == Prices(input=0.02)


def test_a_missing_key_is_told() -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        OpenAIEmbeddings().embed(["x"])


def test_a_missing_library_names_the_line_that_installs_it() -> None:
    with pytest.raises(MissingExtra, match="pip install sentence-transformers"):
        SentenceTransformers(name="all-MiniLM-L6-v2").embed(["x"])
