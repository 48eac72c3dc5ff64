"""Redis and PostgreSQL as stores, against real servers that the tests start for themselves."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import threading
import time
import uuid
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from llmops_flows import Flow, Record, Runner
from llmops_flows.calls.budget import Ledger
from llmops_flows.components.prompt.chat import ChatPrompt
from llmops_flows.components.store.postgres import Postgres
from llmops_flows.components.store.redis import Redis
from llmops_flows.core.errors import ConfigError, StoreError
from llmops_flows.core.fingerprint import digest
from llmops_flows.core.store import Entry, Store
from llmops_flows.stores.store_config import ServerStoreConfig
from llmops_flows.testing.fakes import CountedModel, logged_calls
from llmops_flows.testing.ledgers import LedgerContract
from llmops_flows.testing.stores import MaintainedStoreContract
from tests.support.budget_race import race
from tests.support.store_servers import PostgresServer, RedisServer, StoreServer

spawn = multiprocessing.get_context("spawn")
KINDS: dict[str, tuple[type[StoreServer], type[ServerStoreConfig], str]] = {
    "redis": (RedisServer, Redis, "REDIS_URL"),
    "postgres": (PostgresServer, Postgres, "DATABASE_URL"),
}
SECRET = "what all machines of a test are given"


@pytest.fixture(scope="module", params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def engine(kind: str) -> Iterator[StoreServer]:
    with KINDS[kind][0]() as running:
        yield running


@pytest.fixture
def config(kind: str, engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerStoreConfig:
    """A namespace of its own for each test."""
    _, part, url_env = KINDS[kind]
    monkeypatch.setenv(url_env, engine.url)
    monkeypatch.setenv("LLMOPS_FLOWS_SEAL", SECRET)
    return part(url_env=url_env, namespace=uuid.uuid4().hex, timeout=5, key=tmp_path / "deep" / "key")


def elsewhere(config: ServerStoreConfig, **changes: object) -> ServerStoreConfig:
    return type(config)(**{**config.model_dump(), **changes})


class TestServers(MaintainedStoreContract):
    @pytest.fixture(autouse=True)
    def opened(self, config: ServerStoreConfig) -> Iterator[None]:
        self.config = config
        self.handles: list[Store] = []
        yield
        for handle in self.handles:
            handle.close()

    def store(self) -> Store:
        self.handles.append(self.config.open())
        return self.handles[-1]

    def again(self, store: Store) -> Store:
        return self.store() if len(self.handles) < 4 else self.handles[-1]


class TestLedgers(LedgerContract):
    @pytest.fixture(autouse=True)
    def opened(self, config: ServerStoreConfig) -> Iterator[None]:
        self.config = config
        self.handles: list[Any] = []
        yield
        for handle in self.handles:
            handle.close()

    def ledger(self) -> Ledger:
        self.handles.append(self.config.open())
        ledger: Ledger = self.handles[-1]
        return ledger

    def other(self, ledger: Ledger) -> Ledger:
        return self.ledger() if len(self.handles) < 4 else self.handles[-1]


@pytest.fixture
def store(config: ServerStoreConfig) -> Iterator[Any]:
    store = config.open()
    yield store
    store.close()


def put(store: Store, key: str, data: bytes) -> Entry:
    entry = Entry(digest(data), b'{"seconds":1}')
    store.put({key: entry}, {entry.address: data})
    return entry


# -- whose rows are believed -----------------------------------------------------------------------------------------


def test_namespaces_know_nothing_of_each_other(config: ServerStoreConfig, store: Any) -> None:
    put(store, "k", b"ours")
    other = elsewhere(config, namespace=config.namespace + ".other").open()
    assert other.entries(["k"]) == {} and other.values([digest(b"ours")]) == {}
    assert store.lease(["k"], "a", seconds=30)["k"].granted and other.lease(["k"], "b", seconds=30)["k"].granted
    other.evict(max_bytes=0)
    assert store.entries(["k"])
    other.close()


def test_machines_with_one_secret_share_and_others_leave_their_rows_alone(
    config: ServerStoreConfig, store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = put(store, "k", b"ours")
    same = elsewhere(config, key=tmp_path / "another machine").open()
    assert same.entries(["k"]) == {"k": entry}
    same.close()
    monkeypatch.setenv("LLMOPS_FLOWS_SEAL", "a secret of somebody else")
    stranger = config.open()
    assert stranger.entries(["k"]) == {}
    put(stranger, "k", b"theirs")
    stranger.close()
    assert store.entries(["k"]) == {"k": entry}


def test_without_a_secret_a_machine_makes_a_key_of_its_own(
    config: ServerStoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLMOPS_FLOWS_SEAL")
    one, two = config.open(), config.open()
    entry = put(one, "k", b"ours")
    assert two.entries(["k"]) == {"k": entry}
    assert config.key.stat().st_mode & 0o777 == 0o600
    one.close()
    two.close()


def test_a_short_secret_and_a_missing_url_are_told(config: ServerStoreConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMOPS_FLOWS_SEAL", "short")
    with pytest.raises(ConfigError, match="fewer than 16 characters"):
        config.open()
    monkeypatch.setenv("LLMOPS_FLOWS_SEAL", SECRET)
    monkeypatch.delenv(config.url_env)
    with pytest.raises(ConfigError, match=f"export {config.url_env}="):
        config.open()


def test_a_store_travels_to_workers_without_its_url_or_secret(store: Any) -> None:
    entry = put(store, "k", b"ours")
    data = pickle.dumps(store)
    assert b"127.0.0.1" not in data and SECRET.encode() not in data
    travelled = pickle.loads(data)
    assert travelled.entries(["k"]) == {"k": entry}
    travelled.close()


class Forger:
    """Somebody who has the server's password, but not the key."""

    def __init__(self, store: Any, kind: str, url: str) -> None:
        self.store, self.kind, self.url = store, kind, url

    def rewrite(self, table: str, source: str, target: str) -> None:
        """Put the row of one name in the place of another's."""
        if self.kind == "redis":
            kind = {"entries": "e", "contents": "v", "leases": "l"}[table]
            client, name = self.store._client, self.store._name
            client.set(name(kind, target), client.get(name(kind, source)), px=20_000 if kind == "l" else None)
            return
        import psycopg

        columns = {"entries": "address, meta, seal", "contents": "data", "leases": "owner, error, seal, expires"}
        column = "address" if table == "contents" else "key"
        changed = ", ".join(f"{c} = s.{c}" for c in columns[table].split(", "))
        with psycopg.connect(self.url) as db:
            db.execute(
                f"UPDATE llmops_flows_{table}_1 t SET {changed} FROM llmops_flows_{table}_1 s "
                f"WHERE t.space = s.space AND s.{column} = %s AND t.{column} = %s AND t.space = %s",
                (source, target, self.store._space),
            )


def test_rows_in_another_place_are_refused(store: Any, kind: str, engine: Any) -> None:
    forger = Forger(store, kind, engine.url)
    one, two = put(store, "one", b"1"), put(store, "two", b"2")
    forger.rewrite("entries", "one", "two")
    assert store.entries(["one", "two"]) == {"one": one}
    assert store.counters["bad_seal"] == 1
    two = put(store, "two", b"2")
    forger.rewrite("contents", one.address, two.address)
    assert store.values([one.address, two.address]) == {one.address: b"1"}
    assert store.counters["bad_value"] == 1
    assert store.entries(["two"]) == {}  # its value is lost: it is computed again
    put(store, "two", b"2")
    forger.rewrite("entries", "one", "two")
    assert set(store.verify(repair=False).lost) == {"two"}


def test_a_forged_lease_holds_nobody_up(store: Any, kind: str, engine: Any) -> None:
    store.lease(["one", "two"], "them", seconds=20)
    Forger(store, kind, engine.url).rewrite("leases", "one", "two")
    found = store.lease(["one", "two"], "me", seconds=20)
    assert not found["one"].granted and found["two"].granted


def test_what_is_large_comes_back(store: Any) -> None:
    data = os.urandom(20_000_000)
    entry = put(store, "large", data)
    assert store.values([entry.address]) == {entry.address: data}


# -- a lost connection -----------------------------------------------------------------------------------------------


def asking(log: Path, *, pause: float = 0.0) -> Flow:
    prompt = ChatPrompt(messages=[{"role": "user", "content": "{question}"}])
    return Flow(stages={"prompt": prompt, "model": CountedModel(log=log, pause=pause)})


def test_a_server_that_restarts_is_no_trouble(store: Any, engine: StoreServer) -> None:
    entry = put(store, "k", b"kept")
    engine.stop()
    engine.start()
    assert store.entries(["k"]) == {"k": entry}
    assert store.values([entry.address]) == {entry.address: b"kept"}
    assert store.lease(["l"], "me", seconds=30)["l"].granted


def test_a_server_that_is_away_costs_no_answer_and_learns_them_when_it_is_back(
    config: ServerStoreConfig, engine: StoreServer, tmp_path: Path
) -> None:
    flow, log = asking(tmp_path / "calls", pause=0.05), tmp_path / "calls"
    store = config.open()
    with Runner(store=store) as runner:
        away = threading.Timer(0.15, engine.stop)
        away.start()
        records = [Record.of(str(n), {"question": f"question {n}"}) for n in range(12)]
        told = [runner.run(flow, [record])[0].answer for record in records]
        away.join()
        with pytest.raises(StoreError, match=config.url_env):
            store.entries(["k"])
        assert told == [f"said question {n}" for n in range(12)]
        assert len(logged_calls(log)) == 12
        engine.start()
        assert runner.context.vectors is not None
        runner.context.vectors.flush()
    with Runner(store=store) as later:
        again = [record.answer for record in later.run(flow, records)]
    assert again == told
    assert len(logged_calls(log)) == 12  # what was computed meanwhile is known
    store.close()


# -- many processes --------------------------------------------------------------------------------------------------


def ask(config: ServerStoreConfig, log: Path, threads: int, gate: Barrier, report: Path) -> None:
    """Ask the same 10 questions in several threads at once; report what came."""
    flow, found = asking(log, pause=0.3), []
    store = config.open()

    def one() -> None:
        records = [Record.of(str(n), {"question": f"question {n}"}) for n in range(10)]
        found.extend(str(record.error or record.answer) for record in runner.run(flow, records))

    with Runner(store=store) as runner:
        gate.wait(60)
        together = [threading.Thread(target=one) for _ in range(threads)]
        for thread in together:
            thread.start()
        for thread in together:
            thread.join()
    store.close()
    report.write_text(json.dumps(found))


def test_processes_compute_each_answer_once(config: ServerStoreConfig, tmp_path: Path) -> None:
    gate, log = spawn.Barrier(3), tmp_path / "calls"
    reports = [tmp_path / f"report{n}.json" for n in range(3)]
    processes = [spawn.Process(target=ask, args=(config, log, 2, gate, report)) for report in reports]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    told = [text for report in reports for text in json.loads(report.read_text())]
    assert sorted(logged_calls(log)) == sorted(f"question {n}" for n in range(10))
    assert sorted(set(told)) == sorted(f"said question {n}" for n in range(10)) and len(told) == 60


def test_a_forked_child_uses_the_store_without_harm(store: Any) -> None:
    entry = put(store, "k", b"kept")
    child = os.fork()
    if child == 0:
        try:
            good = store.entries(["k"]) == {"k": entry}
            put(store, "child", b"c")
            store.close()
            os._exit(0 if good else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert set(store.entries(["k", "child"])) == {"k", "child"}


def test_an_evicted_answer_is_computed_again(config: ServerStoreConfig, tmp_path: Path) -> None:
    flow, log = asking(tmp_path / "calls"), tmp_path / "calls"
    store: Any = config.open()
    stop = threading.Event()

    def evict() -> None:
        while not stop.is_set():
            store.evict(max_bytes=0)
            time.sleep(0.005)

    evicting = threading.Thread(target=evict)
    evicting.start()
    try:
        with Runner(store=store) as runner:
            for _ in range(15):
                [record] = runner.run(flow, [Record.of("1", {"question": "How long?"})])
                assert record.answer == "said How long?"
    finally:
        stop.set()
        evicting.join()
    assert logged_calls(log)
    store.close()


# -- a budget that processes share -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_processes_that_are_killed_never_spend_more_than_there_is(config: ServerStoreConfig, tmp_path: Path) -> None:
    race(tmp_path, config, processes=4, threads=16, kills=4, usd=60)
