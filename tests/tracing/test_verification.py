"""`verify` finds damage anywhere in the trace store, and repair keeps every readable trace."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from llmops_flows.core.errors import StoreError
from llmops_flows.tracing.trace_store import TraceStore
from llmops_flows.tracing.verification import verify
from tests.support.file_damage import damage_file
from tests.tracing.test_trace_store import run

QUESTIONS = [f"question {n} {'x' * 300}" for n in range(40)]


@pytest.fixture(scope="module")
def intact_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace store with forty traces, all in its main file."""
    path = tmp_path_factory.mktemp("whole") / "traces.sqlite"
    for first in range(0, 40, 4):
        run(path, *QUESTIONS[first : first + 4])
    db = sqlite3.connect(path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return path


def contents_of(path: Path) -> dict[str, str]:
    """Trace id to question and answer, for each readable trace."""
    store = TraceStore(path)
    try:
        traces = [trace for run in store.runs(100) for trace in store.traces(run.run)]
        return {t.id: f"{t.inputs['question']} {t.outputs.get('answer')}" for t in traces}
    finally:
        store.close()


@pytest.mark.parametrize("places", [30, pytest.param(500, marks=pytest.mark.slow)])
def test_damage_is_reported_and_no_trace_has_a_wrong_answer(intact_store: Path, tmp_path: Path, places: int) -> None:
    right, chance, shares = contents_of(intact_store), random.Random(15), []
    assert len(right) == 40
    for n in range(places):
        path = tmp_path / str(n) / "traces.sqlite"
        path.parent.mkdir()
        shutil.copyfile(intact_store, path)
        what = damage_file(path, chance)
        before = verify(path)
        good, lost = verify(path, repair=True)
        assert bool(before[1]) == bool(lost), what
        assert lost or good == 40, what
        assert verify(path)[1] == {}, what
        readable = contents_of(path)
        # A lost value is None; any other value is what was written.
        assert all(text == right[id] or "None" in text for id, text in readable.items() if id in right), what
        if not what.startswith("cut"):
            shares.append(len(readable) / 40)
        shutil.rmtree(path.parent)
    assert sorted(shares)[len(shares) // 5] > 0.8


def test_every_changed_bit_of_a_trace_is_detected(intact_store: Path, tmp_path: Path) -> None:
    path = tmp_path / "traces.sqlite"
    shutil.copyfile(intact_store, path)
    db = sqlite3.connect(path)
    [(data,)] = db.execute("SELECT data FROM traces WHERE seq = 7").fetchall()
    for n in range(0, len(data), 41):
        changed = data[:n] + bytes([data[n] ^ 1]) + data[n + 1 :]
        db.execute("UPDATE traces SET data = ? WHERE seq = 7", (changed,))
        db.commit()
        assert len(verify(path)[1]) == 1
        assert len(contents_of(path)) == 39
    db.close()


def test_a_file_that_is_not_a_database_is_reported_and_repair_moves_it_aside(tmp_path: Path) -> None:
    path = tmp_path / "traces.sqlite"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError):
        contents_of(path)
    assert "not a database" in verify(path)[1][str(path)].why
    assert path.read_bytes().startswith(b"not a database")
    verify(path, repair=True)
    run(path, "why?")
    assert len(contents_of(path)) == 1
    assert [p for p in tmp_path.iterdir() if "broken" in p.name]


def test_verify_creates_no_file(tmp_path: Path) -> None:
    assert verify(tmp_path / "traces.sqlite", repair=True) == (0, {})
    assert list(tmp_path.iterdir()) == []
