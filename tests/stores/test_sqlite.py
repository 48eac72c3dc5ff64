"""The SQLite store: its file, its key and its size."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from llmops_flows.core.errors import StoreError
from llmops_flows.core.fingerprint import digest
from llmops_flows.core.store import Entry, StoreStats
from llmops_flows.stores.sqlite_schema import APPLICATION, SCHEMA
from llmops_flows.stores.sqlite_store import SQLiteStore
from tests.support.file_damage import read_only, small_disk
from tests.support.store_rows import execute_sql, make_rows

# -- the file --------------------------------------------------------------------------------------------------------


def test_a_store_in_a_read_only_folder_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    entries, values = make_rows(3)
    origin = SQLiteStore(tmp_path / "home" / "store.sqlite")
    origin.put(entries, values)
    origin.close()
    with read_only(tmp_path / "home"):
        store = SQLiteStore(tmp_path / "home" / "store.sqlite")
        assert store.entries(list(entries)) == entries
        assert store.values(list(values)) == values
        with pytest.raises(StoreError, match="the file is read-only"):
            store.put(entries, values)
        assert store.entries(list(entries)) == entries
    store.put({"later": Entry(digest(b"x"))}, {digest(b"x"): b"x"})
    assert store.entries(["later"])
    store.close()


def test_a_store_on_a_full_disk_is_read_and_written_again_when_there_is_space(tmp_path: Path) -> None:
    entries, values = make_rows(3)
    with small_disk(tmp_path / "disk") as disk:
        origin = SQLiteStore(disk / "store.sqlite")
        origin.put(entries, values)
        origin.close()
        with pytest.raises(OSError), (disk / "filler").open("wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
        store = SQLiteStore(disk / "store.sqlite")
        assert store.entries(list(entries)) == entries and store.values(list(values)) == values
        with pytest.raises(StoreError, match="home=FOLDER"):
            store.put(*make_rows(5))
        (disk / "filler").unlink()
        store.put(*make_rows(5))
        assert len(store.entries(list(make_rows(5)[0]))) == 5
        store.close()


def test_a_read_only_folder_without_a_store_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with read_only(tmp_path / "home"), pytest.raises(StoreError, match=r"store\.sqlite"):
        SQLiteStore(tmp_path / "home" / "store.sqlite").entries(["x"])


def test_a_file_that_is_removed_while_open_is_created_again(store: SQLiteStore, path: Path) -> None:
    entries, values = make_rows(2)
    store.put(entries, values)
    for file in path.parent.glob("store.sqlite*"):
        if not file.name.endswith(".key"):
            file.unlink()
    assert store.entries(list(entries)) == {}
    store.put(entries, values)
    other = SQLiteStore(path)
    assert other.entries(list(entries)) == entries
    other.close()


def test_a_file_that_is_replaced_while_open_is_reopened(store: SQLiteStore, path: Path, tmp_path: Path) -> None:
    entries, values = make_rows(2)
    store.put(entries, values)
    store.backup(tmp_path / "copy.sqlite")
    more = {"more": Entry(digest(b"m"))}
    copy = SQLiteStore(tmp_path / "copy.sqlite")
    copy.put(more, {digest(b"m"): b"m"})
    copy.close()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    (tmp_path / "copy.sqlite").replace(path)
    assert store.entries([*entries, "more"]) == {**entries, **more}


def test_a_file_that_is_not_a_database_is_moved_aside(path: Path) -> None:
    path.write_bytes(b"this is not a database" * 100)
    store = SQLiteStore(path)
    store.put(*make_rows(1))
    assert store.counters["replaced"] == 1
    [aside] = path.parent.glob("*.broken-*")
    assert aside.read_bytes().startswith(b"this is not a database")
    store.close()


def test_two_stores_that_find_the_damage_replace_the_file_once(path: Path) -> None:
    stores = [SQLiteStore(path), SQLiteStore(path)]
    entries, values = make_rows(40)
    for store in stores:
        store.put(entries, values)
        store.close()
    data = path.read_bytes()
    path.write_bytes(data[:100] + b"\xff" * (len(data) - 100))
    fresh = {digest(b"x"): b"x"}
    for _ in range(2):
        for n, store in enumerate(stores):
            try:
                store.put({f"fresh{n}": Entry(digest(b"x"))}, fresh)
            except StoreError:
                continue
    assert sum(store.counters["replaced"] for store in stores) == 1
    assert set(stores[0].entries(["fresh0", "fresh1"])) == {"fresh0", "fresh1"}
    for store in stores:
        store.close()


def test_another_programs_database_is_left_alone(path: Path) -> None:
    execute_sql(path, "CREATE TABLE holidays (day TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program's database"):
        SQLiteStore(path).put(*make_rows(1))
    with pytest.raises(StoreError, match="another program's database"):
        SQLiteStore(path).verify()
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.broken-*"))


def test_a_file_of_a_newer_version_is_left_alone(store: SQLiteStore, path: Path) -> None:
    store.put(*make_rows(1))
    store.close()
    execute_sql(path, f"PRAGMA user_version = {SCHEMA + 1}")
    with pytest.raises(StoreError, match="newer version"):
        store.entries(["x"])
    assert execute_sql(path, "SELECT count(*) FROM entries") == [(1,)]


def test_a_file_of_an_older_version_is_migrated(store: SQLiteStore, path: Path) -> None:
    entries, values = make_rows(3)
    store.put(entries, values)
    store.close()
    execute_sql(path, "DROP TABLE leases")
    execute_sql(path, "CREATE TABLE leases (key TEXT PRIMARY KEY, owner TEXT, expires REAL, error BLOB) WITHOUT ROWID")
    execute_sql(path, "PRAGMA user_version = 0")
    execute_sql(path, "PRAGMA application_id = 0")
    assert store.entries(list(entries)) == entries
    assert store.lease(["k"], "me", seconds=1)["k"].granted
    assert execute_sql(path, "PRAGMA application_id") == [(APPLICATION,)]


def test_a_forked_child_does_not_disturb_the_parent(store: SQLiteStore) -> None:
    entries, values = make_rows(2)
    store.put(entries, values)
    child = os.fork()
    if child == 0:
        try:
            good = store.entries(list(entries)) == entries
            store.put({"child": Entry(digest(b"c"))}, {digest(b"c"): b"c"})
            os._exit(0 if good else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.entries(["child"])
    store.put({"parent": Entry(digest(b"p"))}, {digest(b"p"): b"p"})


# -- the key ---------------------------------------------------------------------------------------------------------


def test_only_its_owner_can_read_the_key(store: SQLiteStore, path: Path) -> None:
    store.put(*make_rows(1))
    key = path.with_name("store.sqlite.key")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_bytes()) == 32
    store.close()
    key.chmod(0o644)
    store.entries(["x"])
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_the_error_for_a_damaged_key_has_a_hint(store: SQLiteStore, path: Path) -> None:
    store.put(*make_rows(1))
    store.close()
    path.with_name("store.sqlite.key").write_bytes(b"short")
    with pytest.raises(StoreError, match="put it back from a backup, or remove it"):
        store.entries(["x"])


def test_without_its_key_every_row_of_a_store_is_ignored(store: SQLiteStore, path: Path) -> None:
    entries, values = make_rows(3)
    store.put(entries, values)
    store.close()
    path.with_name("store.sqlite.key").unlink()
    assert store.entries(list(entries)) == {}
    store.put(entries, values)
    assert store.entries(list(entries)) == entries


def test_a_backup_has_the_key(store: SQLiteStore, path: Path, tmp_path: Path) -> None:
    entries, values = make_rows(50)
    store.put(entries, values)
    target = tmp_path / "safe" / "copy.sqlite"
    store.backup(target)
    assert stat.S_IMODE(target.with_name("copy.sqlite.key").stat().st_mode) == 0o600
    copy = SQLiteStore(target)
    assert copy.entries(list(entries)) == entries
    assert copy.values(list(values)) == values
    copy.close()


# -- size ------------------------------------------------------------------------------------------------------------


def test_eviction_shrinks_the_file(store: SQLiteStore, path: Path) -> None:
    store.put(*make_rows(200, size=20_000))
    store.evict(max_bytes=0)
    assert path.stat().st_size < 200_000
    assert store.stats() == StoreStats(0, 0, 0, 0.0, 0.0, {}, {}, {})


def test_a_read_entry_counts_as_used(store: SQLiteStore, path: Path) -> None:
    entries, values = make_rows(3)
    store.put(entries, values)
    read, *_ = entries
    execute_sql(path, "UPDATE entries SET used = used - 5 * 86400")
    store.entries([read])
    assert store.evict(older_than=86400).entries == 2
    assert store.entries(list(entries)) == {read: entries[read]}


def test_a_damaged_row_is_evicted(store: SQLiteStore, path: Path) -> None:
    store.put(*make_rows(3))
    execute_sql(path, "UPDATE entries SET used = 'never'")
    store.entries(list(make_rows(3)[0]))
    assert store.evict(older_than=60).entries == 3
