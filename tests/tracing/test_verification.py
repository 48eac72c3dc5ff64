"""Damage to the trace store is found and named, wherever it is; what can be read is kept."""

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
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace store with forty traces, its log emptied."""
    path = tmp_path_factory.mktemp("whole") / "traces.sqlite"
    for first in range(0, 40, 4):
        run(path, *QUESTIONS[first : first + 4])
    db = sqlite3.connect(path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return path


def told(path: Path) -> dict[str, str]:
    """Trace id to the question and the answer that it tells, of all that can be read."""
    store = TraceStore(path)
    try:
        found = [trace for one in store.runs(100) for trace in store.traces(one.run)]
        return {t.id: f"{t.inputs['question']} {t.outputs.get('answer')}" for t in found}
    finally:
        store.close()


@pytest.mark.parametrize("places", [30, pytest.param(500, marks=pytest.mark.slow)])
def test_damage_anywhere_is_named_and_no_trace_tells_a_wrong_answer(whole: Path, tmp_path: Path, places: int) -> None:
    right, chance, kept = told(whole), random.Random(15), []
    assert len(right) == 40
    for n in range(places):
        path = tmp_path / str(n) / "traces.sqlite"
        path.parent.mkdir()
        shutil.copyfile(whole, path)
        what = damage_file(path, chance)
        before = verify(path)
        good, lost = verify(path, repair=True)
        assert bool(before[1]) == bool(lost), what
        assert lost or good == 40, what
        assert verify(path)[1] == {}, what
        found = told(path)
        # What was lost is None; what is told is what was written.
        assert all(text == right[id] or "None" in text for id, text in found.items() if id in right), what
        if not what.startswith("cut"):
            kept.append(len(found) / 40)
        shutil.rmtree(path.parent)
    assert sorted(kept)[len(kept) // 5] > 0.8


def test_not_one_figure_of_a_trace_can_change_unnoticed(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "traces.sqlite"
    shutil.copyfile(whole, path)
    db = sqlite3.connect(path)
    [(data,)] = db.execute("SELECT data FROM traces WHERE seq = 7").fetchall()
    for n in range(0, len(data), 41):
        changed = data[:n] + bytes([data[n] ^ 1]) + data[n + 1 :]
        db.execute("UPDATE traces SET data = ? WHERE seq = 7", (changed,))
        db.commit()
        assert len(verify(path)[1]) == 1
        assert len(told(path)) == 39
    db.close()


def test_a_file_that_is_no_database_is_told_and_put_aside_when_that_is_wished(tmp_path: Path) -> None:
    path = tmp_path / "traces.sqlite"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError):
        told(path)
    assert "not a database" in verify(path)[1][str(path)].why
    assert path.read_bytes().startswith(b"no database")
    verify(path, repair=True)
    run(path, "why?")
    assert len(told(path)) == 1
    assert [p for p in tmp_path.iterdir() if "broken" in p.name]


def test_where_there_are_no_traces_nothing_is_made(tmp_path: Path) -> None:
    assert verify(tmp_path / "traces.sqlite", repair=True) == (0, {})
    assert list(tmp_path.iterdir()) == []
