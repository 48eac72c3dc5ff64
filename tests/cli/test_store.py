"""`store stats`, `store verify` and `store evict`."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from llmops_flows.cli.main import main
from llmops_flows.core.errors import ConfigError
from llmops_flows.core.fingerprint import digest
from llmops_flows.core.store import Entry
from llmops_flows.report.text import amounts
from llmops_flows.stores.sqlite_store import SQLiteStore

FACTS = (b'{"stage":"model","tenant":"acme"}', b'{"stage":"retrieve"}')


@pytest.fixture
def store(home: Path) -> Path:
    """A store with ten entries of two stages, 1,000 bytes each, in the home folder."""
    store = SQLiteStore(home / "store.sqlite")
    for n in range(10):
        data = b"%d" % n + bytes(999)
        store.put({digest("key", str(n)): Entry(digest(data), FACTS[n % 2])}, {digest(data): data})
    store.close()
    return store.path


def output(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["store", *arguments]) == code
    captured = capsys.readouterr()
    return captured.out + captured.err


def data(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert main(["store", *arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def damage(path: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(path) as db:
        db.execute(statement, values)
    db.close()


def test_stats_count_entries_by_stage_and_tenant(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "stats")
    assert f"sqlite {store}" in text and "10 entries, 10 values, 10.0 kB" in text
    assert "acme" in text and "computing  nothing" in text
    found = data(capsys, "stats")
    assert found["stages"] == {"model": {"entries": 5, "bytes": 5000}, "retrieve": {"entries": 5, "bytes": 5000}}
    assert found["tenants"]["acme"] == {"entries": 5, "bytes": 5000}


def test_stats_name_the_processes_that_hold_leases(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handle = SQLiteStore(store)
    handle.lease(["k", "l"], "machine/4242/mark", seconds=30)
    handle.close()
    assert "2 keys by machine/4242 (2)" in output(capsys, "stats")


def test_no_command_creates_a_store(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("stats",), ("verify",), ("evict", "max_size=0")):
        output(capsys, *arguments)
    assert not list(home.iterdir())


def test_verify_names_damage_with_its_stage_and_repair_drops_it(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "nothing is damaged" in output(capsys, "verify")
    bad = digest("key", "4")
    damage(store, "UPDATE entries SET seal = zeroblob(32) WHERE key = ?", bad)
    damage(store, "UPDATE contents SET data = zeroblob(7) WHERE address = ?", digest(b"3" + bytes(999)))
    text = output(capsys, "verify", code=1)
    assert bad[:16] in text and "model" in text and "retrieve" in text and "--repair" in text
    lost = {one["name"]: one for one in data(capsys, "verify", code=1)["lost"]}
    assert (lost[bad]["what"], lost[bad]["stage"], lost[bad]["tenant"]) == ("entry", "model", "acme")
    assert {one["stage"] for one in lost.values()} == {"model", "retrieve"} and len(lost) == 3
    assert "computes them again" in output(capsys, "verify", "--repair")
    assert data(capsys, "verify") == {
        "store": f"sqlite {store}", "entries": 8, "values": 9, "indexes": 0, "traces": 0, "lost": [],
        "repaired": False,
    }  # fmt: skip


def test_a_damaged_store_file_is_repaired(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store.write_bytes(store.read_bytes()[:-4096])
    assert f"damaged: {store}" in output(capsys, "verify", code=1)
    assert "rows could be read and are kept" in data(capsys, "verify", "--repair")["lost"][0]["why"]
    assert data(capsys, "verify")["entries"] >= 5


def test_indexes_and_traces_are_verified_too(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = ["flow=rag_support", "model=extractive", "retriever=bm25", "guardrail=none", "evaluator=none",
           "questions.limit=3"]  # fmt: skip
    assert main(run) == 0
    [index] = [p for p in (home / "artifacts" / "bm25").iterdir() if p.is_dir()]
    file = next(p for p in sorted(index.iterdir()) if p.name != "manifest.json")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    damage(home / "traces.sqlite", "UPDATE traces SET data = x'7b' WHERE seq = 1")
    damage(home / "traces.sqlite", "UPDATE contents SET data = x'7b' WHERE rowid = 1")
    capsys.readouterr()
    found = data(capsys, "verify", code=1)
    assert found["traces"] == 2 and found["indexes"] == 0
    assert sorted(one["what"] for one in found["lost"]) == ["index", "trace", "value of a trace"]
    assert f"{file.name} has changed since it was built" in [one["why"] for one in found["lost"]]
    output(capsys, "verify", "--repair")
    assert data(capsys, "verify")["lost"] == []
    assert not index.exists()
    assert main(run) == 0


def test_a_damaged_trace_store_keeps_the_readable_rows(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for n in range(3):
        assert main(["flow=chat", "model=echo", f"question=number {n} {'x' * 5000}"]) == 0
    path = home / "traces.sqlite"
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
    path.write_bytes(path.read_bytes()[:-8192])
    capsys.readouterr()
    assert data(capsys, "verify", code=1)["lost"][0]["name"] == str(path)
    assert "the old file is traces.sqlite.broken-" in output(capsys, "verify", "--repair")
    assert data(capsys, "verify")["lost"] == []
    assert main(["flow=chat", "model=echo", "question=once more"]) == 0


def test_evict_by_size_and_age_with_a_dry_run(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(store, "UPDATE entries SET used = used - 8 * 86400 WHERE key = ?", digest("key", "0"))
    for flag in (("--dry-run",), ()):
        found = data(capsys, "evict", "older_than=1w", *flag)
        assert (found["entries"], found["bytes"], found["stages"]) == (1, 1000, {"model": 1})
    assert "would evict 5 entries (model 2, retrieve 3)" in output(capsys, "evict", "max_size=4kB", "--dry-run")
    assert "evicted 5 entries" in output(capsys, "evict", "max_size=4kB")
    assert "nothing to evict" in output(capsys, "evict", "max_size=4kB", "older_than=1w")
    assert data(capsys, "stats")["entries"] == 4


def test_evict_by_tenant_and_stage_keeps_the_rest(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data(capsys, "evict", "tenant=acme", "stage=model", "max_size=2kB")["entries"] == 3
    assert data(capsys, "evict", "tenant=acme")["entries"] == 2
    assert data(capsys, "stats")["stages"] == {"retrieve": {"entries": 5, "bytes": 5000}}


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ((), "choose from: evict, stats, verify"),
        (("stat",), "did you mean 'stats'?"),
        (("evict",), "no condition is given"),
        (("evict", "max_siz=1GB"), "did you mean 'max_size'?"),
        (("evict", "older_than=90"), "older_than=90d"),
        (("evict", "older_than=-3d"), "older_than=90d"),
        (("evict", "max_size=much"), "max_size=2GB"),
        (("evict", "max_size=-1"), "max_size=2GB"),
        (("evict", "stage=modle"), "did you mean 'model'?"),
        (("evict", "tenant=acne"), "did you mean 'acme'?"),
        (("evict", "everything"), "unknown condition 'everything'"),
        (("verify", "--repiar"), "did you mean '--repair'?"),
        (("stats", "--dry-run"), "--json"),
        (("stats", "store=rediss"), "did you mean 'redis'?"),
        (("stats", "store=null"), "choose from: memory, postgres"),
    ],
)
def test_a_mistake_is_reported_with_a_hint(
    store: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], hint: str
) -> None:
    text = output(capsys, *arguments, code=2)
    assert hint in text and "Traceback" not in text


def test_another_home_is_another_store(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data(capsys, "stats", f"home={tmp_path / 'other'}")["entries"] == 0
    assert data(capsys, "stats", f"store.path={store}", "flow=chat", "store=sqlite")["entries"] == 10


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("1500", 1500), ("2GB", 2 * 10**9), ("1.5 GiB", 3 * 2**29), ("500k", 500_000), ("7 mb", 7 * 10**6)],
)
def test_sizes_are_parsed(text: str, count: int) -> None:
    assert amounts.parse_size(text, "max_size") == count


@pytest.mark.parametrize(
    ("text", "seconds"), [("90d", 90 * 86_400), ("12 h", 43_200), ("1.5m", 90), ("2 weeks", 1_209_600), ("3s", 3)]
)
def test_ages_are_parsed(text: str, seconds: float) -> None:
    assert amounts.parse_age(text, "older_than") == seconds


@pytest.mark.parametrize("text", ["", "GB", "1e5", "nan", "inf", "1 iB", "2 GBs", "٣GB x"])
def test_an_invalid_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a size"):
        amounts.parse_size(text, "max_size")
