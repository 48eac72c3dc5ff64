"""A damaged SQLite store reports what is lost, and keeps the rest."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from llmops_flows.core.errors import StoreError
from llmops_flows.core.fingerprint import digest
from llmops_flows.core.store import Entry, VerificationReport
from llmops_flows.stores.sqlite_store import SQLiteStore
from tests.support.file_damage import damage_file
from tests.support.store_rows import execute_sql, make_rows


@pytest.mark.parametrize("places", [120, pytest.param(500, marks=pytest.mark.slow)])
def test_damage_anywhere_causes_no_wrong_answer_and_no_crash(tmp_path: Path, places: int) -> None:
    """Flip or zero bits of the file or its log, or truncate it: what is read is correct, and new rows are stored."""
    entries, values = make_rows(80)
    whole = tmp_path / "whole"
    origin = SQLiteStore(whole / "store.sqlite")
    for key, entry in entries.items():
        origin.put({key: entry}, {entry.address: values[entry.address]})
    chance, visible, harmless = random.Random(15), 0, 0
    for n in range(places):
        folder = tmp_path / str(n)
        shutil.copytree(whole, folder)  # while it is open: with the log of its last writes
        file = folder / chance.choice(("store.sqlite", "store.sqlite", "store.sqlite-wal"))
        (folder / "store.sqlite-shm").unlink(missing_ok=True)
        what = damage_file(file, chance)
        store = SQLiteStore(folder / "store.sqlite")
        try:
            known = store.entries(list(entries))
            data = store.values(list(values))
        except StoreError:
            known, data = {}, {}
        assert all(entries[key] == entry for key, entry in known.items()), what
        assert all(values[address] == value for address, value in data.items()), what
        visible += len(known) < len(entries) or len(data) < len(values)
        harmless += len(known) == len(entries) and len(data) == len(values)
        fresh = digest(b"fresh")
        for _ in range(2):  # the first attempt may find that the file is damaged
            try:
                store.put({"fresh": Entry(fresh)}, {fresh: b"fresh"})
                break
            except StoreError:
                continue
        assert store.entries(["fresh"]) == {"fresh": Entry(fresh)}, what
        store.close()
        shutil.rmtree(folder)
    origin.close()
    assert visible > places * 0.2
    assert visible + harmless == places


def test_verify_names_what_was_lost(store: SQLiteStore, path: Path) -> None:
    entries, values = make_rows(5)
    store.put(entries, values)
    first, second, *_ = entries
    execute_sql(path, "UPDATE entries SET meta = ? WHERE key = ?", b"{}", first)
    execute_sql(path, "UPDATE contents SET data = ? WHERE address = ?", b"other", entries[second].address)
    lost = store.verify().lost
    assert set(lost) == {first, entries[second].address, second}
    assert "seal" in lost[first].why and "value is lost" in lost[second].why
    assert store.verify() == VerificationReport(3, 4, {})


def test_damaged_rows_are_unknown_counted_and_logged_once(
    store: SQLiteStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entries, values = make_rows(3)
    store.put(entries, values)
    execute_sql(path, "UPDATE entries SET seal = zeroblob(32)")
    assert store.entries(list(entries)) == {}
    assert store.counters["bad_seal"] == 3
    assert caplog.text.count("holds damaged rows") == 1
    store.put(entries, values)
    assert store.entries(list(entries)) == entries


@pytest.mark.parametrize("places", [40, pytest.param(500, marks=pytest.mark.slow)])
def test_verify_finds_damage_anywhere_and_repair_keeps_readable_rows(tmp_path: Path, places: int) -> None:
    """`verify` reports every loss; after `repair` nothing is damaged, and one damaged place costs a few rows."""
    entries, values = make_rows(150, size=400)
    origin = SQLiteStore(tmp_path / "whole" / "store.sqlite")
    for key, entry in entries.items():
        origin.put({key: entry}, {entry.address: values[entry.address]})
    origin.close()
    chance, shares = random.Random(15), []
    for n in range(places):
        folder = tmp_path / str(n)
        shutil.copytree(tmp_path / "whole", folder)
        what = damage_file(folder / "store.sqlite", chance)
        store = SQLiteStore(folder / "store.sqlite")
        reports = [store.verify(repair=False), store.verify(), store.verify()]
        known, data = store.entries(list(entries)), store.values(list(values))
        assert all(entries[key] == entry for key, entry in known.items()), what
        assert all(values[address] == value for address, value in data.items()), what
        assert bool(reports[0].lost) == bool(reports[1].lost) and not reports[2].lost, what
        assert reports[1].lost or (len(known), len(data)) == (150, 150), what
        if not what.startswith("cut"):
            shares.append(len(known) / 150)
        store.close()
        shutil.rmtree(folder)
    assert sorted(shares)[len(shares) // 5] > 0.9


def test_a_damaged_file_is_reported_and_only_repair_changes_it(store: SQLiteStore, path: Path) -> None:
    entries, values = make_rows(100, size=1000)
    for key, entry in entries.items():
        store.put({key: entry}, {entry.address: values[entry.address]})
    store.close()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    before = path.read_bytes()
    lost = store.verify(repair=False).lost
    assert list(lost) == [str(path)] and "malformed" in lost[str(path)].why
    assert path.read_bytes() == before and not list(path.parent.glob("*.broken-*"))
    assert "rows could be read and are kept" in store.verify().lost[str(path)].why
    assert 20 < store.stats().entries < 100
    assert len(list(path.parent.glob("*.broken-*"))) == 1


def test_the_account_of_a_budget_survives_a_repair(store: SQLiteStore, path: Path) -> None:
    entries, values = make_rows(100, size=1000)
    store.change("sweep", lambda kept: (b"spent", None))
    store.put(entries, values)
    store.close()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    assert store.verify().lost
    assert store.change("sweep", lambda kept: (None, kept)) == b"spent"


def test_a_run_that_finds_damage_keeps_readable_rows(store: SQLiteStore, path: Path) -> None:
    entries, values = make_rows(200, size=1000)
    store.put(entries, values)
    store.close()
    data = path.read_bytes()
    where = len(data) // 2 // 4096 * 4096
    path.write_bytes(data[:where] + bytes(3 * 4096) + data[where + 3 * 4096 :])
    for _ in range(2):  # the first attempt may find the damage
        try:
            known = store.entries(list(entries))
            break
        except StoreError:
            continue
    assert len(known) > 150 and all(entries[key] == entry for key, entry in known.items())
