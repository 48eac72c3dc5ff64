"""The Redis and PostgreSQL stores, against real servers."""

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
from llmops_flows.calls.budget_account import Ledger
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
from tests.support.store_servers import StoreServer

spawn = multiprocessing.get_context("spawn")
CONFIGS: dict[str, type[ServerStoreConfig]] = {"redis": Redis, "postgres": Postgres}
SECRET = "the secret of all machines of a test"


@pytest.fixture(scope="module", params=list(CONFIGS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(kind: str, request: pytest.FixtureRequest) -> StoreServer:
    server: StoreServer = request.getfixturevalue(f"{kind}_server")
    return server


@pytest.fixture
def config(kind: str, server: StoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerStoreConfig:
    """A separate namespace for each test."""
    monkeypatch.setenv(server.url_env, server.url)
    monkeypatch.setenv("LLMOPS_FLOWS_SEAL", SECRET)
    namespace = uuid.uuid4().hex
    return CONFIGS[kind](url_env=server.url_env, namespace=namespace, timeout=5, key=tmp_path / "deep" / "key")


def with_changes(config: ServerStoreConfig, **changes: object) -> ServerStoreConfig:
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

    def another_handle(self, store: Store) -> Store:
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

    def another_handle(self, ledger: Ledger) -> Ledger:
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


# -- which rows are accepted -----------------------------------------------------------------------------------------


def test_namespaces_share_nothing(config: ServerStoreConfig, store: Any) -> None:
    put(store, "k", b"ours")
    other = with_changes(config, namespace=config.namespace + ".other").open()
    assert other.entries(["k"]) == {} and other.values([digest(b"ours")]) == {}
    assert store.lease(["k"], "a", seconds=30)["k"].granted and other.lease(["k"], "b", seconds=30)["k"].granted
    other.evict(max_bytes=0)
    assert store.entries(["k"])
    other.close()


def test_machines_with_one_secret_share_rows_that_other_machines_neither_read_nor_drop(
    config: ServerStoreConfig, store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = put(store, "k", b"ours")
    same = with_changes(config, key=tmp_path / "another machine").open()
    assert same.entries(["k"]) == {"k": entry}
    same.close()
    monkeypatch.setenv("LLMOPS_FLOWS_SEAL", "the secret of another team")
    stranger = config.open()
    assert stranger.entries(["k"]) == {}
    put(stranger, "k", b"theirs")
    stranger.close()
    assert store.entries(["k"]) == {"k": entry}


def test_without_a_secret_a_machine_creates_its_own_key(
    config: ServerStoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLMOPS_FLOWS_SEAL")
    first, second = config.open(), config.open()
    entry = put(first, "k", b"ours")
    assert second.entries(["k"]) == {"k": entry}
    assert config.key.stat().st_mode & 0o777 == 0o600
    first.close()
    second.close()


def test_a_short_secret_and_a_missing_url_are_refused(
    config: ServerStoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMOPS_FLOWS_SEAL", "short")
    with pytest.raises(ConfigError, match="fewer than 16 characters"):
        config.open()
    monkeypatch.setenv("LLMOPS_FLOWS_SEAL", SECRET)
    monkeypatch.delenv(config.url_env)
    with pytest.raises(ConfigError, match=f"export {config.url_env}="):
        config.open()


def test_a_pickled_store_has_neither_its_url_nor_its_secret(store: Any) -> None:
    entry = put(store, "k", b"ours")
    data = pickle.dumps(store)
    assert b"127.0.0.1" not in data and SECRET.encode() not in data
    unpickled = pickle.loads(data)
    assert unpickled.entries(["k"]) == {"k": entry}
    unpickled.close()


class Attacker:
    """Changes rows with the server's password, but without the key."""

    def __init__(self, store: Any, kind: str, url: str) -> None:
        self.store, self.kind, self.url = store, kind, url

    def copy_row(self, table: str, source: str, target: str) -> None:
        """Overwrite the row of one name with the row of another."""
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


def test_copied_rows_are_ignored(store: Any, kind: str, server: StoreServer) -> None:
    attacker = Attacker(store, kind, server.url)
    one, two = put(store, "one", b"1"), put(store, "two", b"2")
    attacker.copy_row("entries", "one", "two")
    assert store.entries(["one", "two"]) == {"one": one}
    assert store.counters["bad_seal"] == 1
    two = put(store, "two", b"2")
    attacker.copy_row("contents", one.address, two.address)
    assert store.values([one.address, two.address]) == {one.address: b"1"}
    assert store.counters["bad_value"] == 1
    assert store.entries(["two"]) == {}  # its value is lost
    put(store, "two", b"2")
    attacker.copy_row("entries", "one", "two")
    assert set(store.verify(repair=False).lost) == {"two"}


def test_a_forged_lease_does_not_block(store: Any, kind: str, server: StoreServer) -> None:
    store.lease(["one", "two"], "them", seconds=20)
    Attacker(store, kind, server.url).copy_row("leases", "one", "two")
    leases = store.lease(["one", "two"], "me", seconds=20)
    assert not leases["one"].granted and leases["two"].granted


def test_large_values_are_stored(store: Any) -> None:
    data = os.urandom(20_000_000)
    entry = put(store, "large", data)
    assert store.values([entry.address]) == {entry.address: data}


# -- a lost connection -----------------------------------------------------------------------------------------------


def counted_flow(log: Path, *, pause: float = 0.0) -> Flow:
    prompt = ChatPrompt(messages=[{"role": "user", "content": "{question}"}])
    return Flow(stages={"prompt": prompt, "model": CountedModel(log=log, pause=pause)})


def test_a_server_restart_raises_no_error(store: Any, server: StoreServer) -> None:
    entry = put(store, "k", b"kept")
    server.stop()
    server.start()
    assert store.entries(["k"]) == {"k": entry}
    assert store.values([entry.address]) == {entry.address: b"kept"}
    assert store.lease(["l"], "me", seconds=30)["l"].granted


def test_while_the_server_is_down_answers_are_computed_and_stored_later(
    config: ServerStoreConfig, server: StoreServer, tmp_path: Path
) -> None:
    flow, log = counted_flow(tmp_path / "calls", pause=0.05), tmp_path / "calls"
    store = config.open()
    with Runner(store=store) as runner:
        stop = threading.Timer(0.15, server.stop)
        stop.start()
        records = [Record.of(str(n), {"question": f"question {n}"}) for n in range(12)]
        answers = [runner.run(flow, [record])[0].answer for record in records]
        stop.join()
        with pytest.raises(StoreError, match=config.url_env):
            store.entries(["k"])
        assert answers == [f"said question {n}" for n in range(12)]
        assert len(logged_calls(log)) == 12
        server.start()
        assert runner.context.vectors is not None
        runner.context.vectors.flush()
    with Runner(store=store) as later:
        again = [record.answer for record in later.run(flow, records)]
    assert again == answers
    assert len(logged_calls(log)) == 12  # answers computed meanwhile were stored
    store.close()


# -- many processes --------------------------------------------------------------------------------------------------


def ask(config: ServerStoreConfig, log: Path, threads: int, gate: Barrier, report: Path) -> None:
    """Ask the same 10 questions in several threads at once, and write the answers to a file."""
    flow, answers = counted_flow(log, pause=0.3), []
    store = config.open()

    def ask_all() -> None:
        records = [Record.of(str(n), {"question": f"question {n}"}) for n in range(10)]
        answers.extend(str(record.error or record.answer) for record in runner.run(flow, records))

    with Runner(store=store) as runner:
        gate.wait(60)
        workers = [threading.Thread(target=ask_all) for _ in range(threads)]
        for thread in workers:
            thread.start()
        for thread in workers:
            thread.join()
    store.close()
    report.write_text(json.dumps(answers))


def test_processes_compute_each_answer_once(config: ServerStoreConfig, tmp_path: Path) -> None:
    gate, log = spawn.Barrier(3), tmp_path / "calls"
    reports = [tmp_path / f"report{n}.json" for n in range(3)]
    processes = [spawn.Process(target=ask, args=(config, log, 2, gate, report)) for report in reports]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    answers = [text for report in reports for text in json.loads(report.read_text())]
    assert sorted(logged_calls(log)) == sorted(f"question {n}" for n in range(10))
    assert sorted(set(answers)) == sorted(f"said question {n}" for n in range(10)) and len(answers) == 60


def test_a_forked_child_does_not_disturb_the_parent(store: Any) -> None:
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
    flow, log = counted_flow(tmp_path / "calls"), tmp_path / "calls"
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


# -- a budget shared by processes ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_processes_never_exceed_the_budget(config: ServerStoreConfig, tmp_path: Path) -> None:
    race(tmp_path, config, processes=4, threads=16, kills=4, usd=60)
