"""The SQLite store: nothing wrong comes out of it, whatever befalls its file."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops_flows.core.errors import StoreError
from llmops_flows.core.fingerprint import digest
from llmops_flows.core.store import Entry, Stats, Verified
from llmops_flows.stores.schema import APPLICATION, SCHEMA
from llmops_flows.stores.sqlite import SQLiteStore
from tests.harm import harm, read_only, small_disk

Rows = tuple[dict[str, Entry], dict[str, bytes]]


def rows(count: int, size: int = 200) -> Rows:
    values = [random.Random(n).randbytes(size) for n in range(count)]
    meta = b'{"seconds":0.1,"usage":{"output_tokens":3}}'
    return (
        {digest("key", str(n)): Entry(digest(value), meta) for n, value in enumerate(values)},
        {digest(value): value for value in values},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(path)
    yield store
    store.close()


def raw(path: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    """Do to the file what somebody does who can write to it but has not the key."""
    db = sqlite3.connect(path, isolation_level=None)
    try:
        return db.execute(statement, values).fetchall()
    finally:
        db.close()


# -- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("places", [120, pytest.param(500, marks=pytest.mark.slow)])
def test_damage_anywhere_gives_no_wrong_answer_and_no_crash(tmp_path: Path, places: int) -> None:
    """Flip, zero or cut off the file or its log: what comes back is right, and the store goes on taking rows."""
    entries, values = rows(80)
    whole = tmp_path / "whole"
    origin = SQLiteStore(whole / "store.sqlite")
    for key, entry in entries.items():
        origin.put({key: entry}, {entry.address: values[entry.address]})
    chance, found, silent = random.Random(15), 0, 0
    for n in range(places):
        folder = tmp_path / str(n)
        shutil.copytree(whole, folder)  # while it is open: with the log of its last writes
        file = folder / chance.choice(("store.sqlite", "store.sqlite", "store.sqlite-wal"))
        (folder / "store.sqlite-shm").unlink(missing_ok=True)
        what = harm(file, chance)
        store = SQLiteStore(folder / "store.sqlite")
        try:
            known = store.entries(list(entries))
            data = store.values(list(values))
        except StoreError:
            known, data = {}, {}
        assert all(entries[key] == entry for key, entry in known.items()), what
        assert all(values[address] == value for address, value in data.items()), what
        found += len(known) < len(entries) or len(data) < len(values)
        silent += len(known) == len(entries) and len(data) == len(values)
        fresh = digest(b"fresh")
        for _ in range(2):  # the first may find out that the file is no database any more
            try:
                store.put({"fresh": Entry(fresh)}, {fresh: b"fresh"})
                break
            except StoreError:
                continue
        assert store.entries(["fresh"]) == {"fresh": Entry(fresh)}, what
        store.close()
        shutil.rmtree(folder)
    origin.close()
    assert found > places * 0.2  # the harm was real
    assert found + silent == places


def test_verify_names_what_was_lost(store: SQLiteStore, path: Path) -> None:
    entries, values = rows(5)
    store.put(entries, values)
    one, two, *_ = entries
    raw(path, "UPDATE entries SET meta = ? WHERE key = ?", b"{}", one)
    raw(path, "UPDATE contents SET data = ? WHERE address = ?", b"other", entries[two].address)
    found = store.verify()
    assert set(found.lost) == {one, entries[two].address, two}
    assert "seal" in found.lost[one].why and "value is lost" in found.lost[two].why
    assert store.verify() == Verified(3, 4, {})


def test_damaged_rows_are_misses_counted_and_told_once(
    store: SQLiteStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entries, values = rows(3)
    store.put(entries, values)
    raw(path, "UPDATE entries SET seal = zeroblob(32)")
    assert store.entries(list(entries)) == {}
    assert store.counters["bad_seal"] == 3
    assert caplog.text.count("holds damaged rows") == 1
    store.put(entries, values)
    assert store.entries(list(entries)) == entries


# -- tampering -------------------------------------------------------------------------------------------------------

COLUMNS = [
    *(("entries", column) for column in ("key", "address", "meta", "seal")),
    *(("contents", column) for column in ("address", "data")),
    *(("leases", column) for column in ("key", "owner", "expires", "error", "seal")),
]


def bits(value: object) -> Iterator[object]:
    """The value with one bit changed, for every bit."""
    data = value.encode() if isinstance(value, str) else value
    if isinstance(data, float):
        yield from (data + change for change in (-1e6, -0.001, 0.001, 10.0, 1e9))
        return
    assert isinstance(data, bytes)
    for n in range(len(data) * 8):
        changed = bytearray(data)
        changed[n // 8] ^= 1 << (n % 8)
        yield bytes(changed)


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_every_changed_bit_of_every_table_is_refused(store: SQLiteStore, path: Path, table: str, column: str) -> None:
    key, text = digest("key"), b"an answer"
    address = digest(text)
    store.put({key: Entry(address, b'{"seconds":1}')}, {address: text})
    store.lease([key], "owner", seconds=1000)
    store.release([key], "owner", error=b'{"message":"no"}')
    db = sqlite3.connect(path, isolation_level=None)
    db.text_factory = bytes
    [kept] = db.execute(f"SELECT * FROM {table}").fetchall()
    [(value,)] = db.execute(f"SELECT {column} FROM {table}").fetchall()
    typed = "CAST(? AS TEXT)" if column in ("key", "address", "owner") else "?"
    texts = {"entries": 2, "contents": 1, "leases": 2}[table]
    places = ", ".join("CAST(? AS TEXT)" if n < texts else "?" for n in range(len(kept)))
    for changed in bits(value):
        db.execute(f"UPDATE {table} SET {column} = {typed}", (changed,))
        names = [changed.decode("utf-8", "replace")] if isinstance(changed, bytes) and typed != "?" else []
        if table == "entries":
            assert store.entries([key, *names]) == {}
        elif table == "contents":
            assert store.values([address, *names]) == {}
        else:
            assert all(lease.mine for lease in store.lease([key, *names], "another", seconds=0.0).values())
        db.execute(f"DELETE FROM {table}")
        db.execute(f"INSERT INTO {table} VALUES ({places})", kept)
    db.close()
    assert store.counters["replaced"] == 0


def test_swapped_rows_are_refused(store: SQLiteStore, path: Path) -> None:
    entries, values = rows(2)
    store.put(entries, values)
    (a, one), (b, two) = entries.items()
    seals = dict(raw(path, "SELECT key, seal FROM entries"))
    for key, entry, sealed in ((a, two, seals[b]), (b, one, seals[a])):
        raw(path, "UPDATE entries SET address = ?, seal = ? WHERE key = ?", entry.address, sealed, key)
    assert store.entries([a, b]) == {}
    raw(path, "UPDATE contents SET data = (SELECT data FROM contents WHERE address = ?) WHERE address = ?",
        two.address, one.address)  # fmt: skip
    assert store.values([one.address, two.address]) == {two.address: values[two.address]}


def test_rows_of_another_store_are_refused(store: SQLiteStore, path: Path, tmp_path: Path) -> None:
    entries, values = rows(2)
    store.put(*rows(0))
    other = SQLiteStore(tmp_path / "other.sqlite")
    other.put(entries, values)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(f"ATTACH '{other.path}' AS other")
    for table in ("entries", "contents"):
        db.execute(f"INSERT INTO {table} SELECT * FROM other.{table}")
    db.close()
    other.close()
    assert store.entries(list(entries)) == {}
    assert store.counters["bad_seal"] == 2


@pytest.mark.parametrize("odd", [None, 7, 1.5, "text", b"", b"bytes"])
def test_values_of_an_odd_type_are_refused(store: SQLiteStore, path: Path, odd: object) -> None:
    entries, values = rows(1)
    [key] = entries
    for table, column in COLUMNS:
        store.put(entries, values)
        store.lease([key], "owner", seconds=1000)
        try:
            raw(path, f"UPDATE {table} SET {column} = ?", odd)
        except sqlite3.IntegrityError:
            continue  # the table itself refuses
        assert set(store.entries([key])) <= {key}
        assert store.values([entries[key].address]).get(entries[key].address, b"") in (b"", *values.values())
        assert store.lease([key], "another", seconds=0.0)
        store.release([key], "another")
        raw(path, "DELETE FROM leases")


# -- the file --------------------------------------------------------------------------------------------------------


def test_a_store_in_a_folder_that_can_only_be_read_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    entries, values = rows(3)
    origin = SQLiteStore(tmp_path / "home" / "store.sqlite")
    origin.put(entries, values)
    origin.close()
    with read_only(tmp_path / "home"):
        store = SQLiteStore(tmp_path / "home" / "store.sqlite")
        assert store.entries(list(entries)) == entries
        assert store.values(list(values)) == values
        with pytest.raises(StoreError, match="read but not written"):
            store.put(entries, values)
        assert store.entries(list(entries)) == entries
    store.put({"later": Entry(digest(b"x"))}, {digest(b"x"): b"x"})
    assert store.entries(["later"])
    store.close()


def test_what_is_known_is_read_from_a_disk_without_any_room_and_written_to_when_there_is(tmp_path: Path) -> None:
    entries, values = rows(3)
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
            store.put(*rows(5))
        (disk / "filler").unlink()
        store.put(*rows(5))
        assert len(store.entries(list(rows(5)[0]))) == 5
        store.close()


def test_a_folder_that_can_only_be_read_and_holds_no_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with read_only(tmp_path / "home"), pytest.raises(StoreError, match=r"store\.sqlite"):
        SQLiteStore(tmp_path / "home" / "store.sqlite").entries(["x"])


def test_a_file_that_is_removed_while_open_is_made_anew(store: SQLiteStore, path: Path) -> None:
    entries, values = rows(2)
    store.put(entries, values)
    for file in path.parent.glob("store.sqlite*"):
        if not file.name.endswith(".key"):
            file.unlink()
    assert store.entries(list(entries)) == {}
    store.put(entries, values)
    other = SQLiteStore(path)
    assert other.entries(list(entries)) == entries
    other.close()


def test_a_file_that_is_replaced_while_open_is_read_from_then_on(
    store: SQLiteStore, path: Path, tmp_path: Path
) -> None:
    entries, values = rows(2)
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


def test_a_file_that_is_no_database_is_moved_aside(path: Path) -> None:
    path.write_bytes(b"this is no database" * 100)
    store = SQLiteStore(path)
    store.put(*rows(1))
    assert store.counters["replaced"] == 1
    [aside] = path.parent.glob("*.broken-*")
    assert aside.read_bytes().startswith(b"this is no database")
    store.close()


def test_two_handles_that_find_the_damage_replace_the_file_once(path: Path) -> None:
    stores = [SQLiteStore(path), SQLiteStore(path)]
    entries, values = rows(40)
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
    raw(path, "CREATE TABLE holidays (day TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program's database"):
        SQLiteStore(path).put(*rows(1))
    with pytest.raises(StoreError, match="another program's database"):
        SQLiteStore(path).verify()
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.broken-*"))


def test_a_file_of_a_newer_version_is_left_alone(store: SQLiteStore, path: Path) -> None:
    store.put(*rows(1))
    store.close()
    raw(path, f"PRAGMA user_version = {SCHEMA + 1}")
    with pytest.raises(StoreError, match="newer version"):
        store.entries(["x"])
    assert raw(path, "SELECT count(*) FROM entries") == [(1,)]


def test_a_file_of_an_older_version_is_brought_up_to_date(store: SQLiteStore, path: Path) -> None:
    entries, values = rows(3)
    store.put(entries, values)
    store.close()
    raw(path, "DROP TABLE leases")
    raw(path, "CREATE TABLE leases (key TEXT PRIMARY KEY, owner TEXT, expires REAL, error BLOB) WITHOUT ROWID")
    raw(path, "PRAGMA user_version = 0")
    raw(path, "PRAGMA application_id = 0")
    assert store.entries(list(entries)) == entries
    assert store.lease(["k"], "me", seconds=1)["k"].mine
    assert raw(path, "PRAGMA application_id") == [(APPLICATION,)]


def test_a_forked_child_uses_the_store_without_harm(store: SQLiteStore) -> None:
    entries, values = rows(2)
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
    store.put(*rows(1))
    key = path.with_name("store.sqlite.key")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_bytes()) == 32
    store.close()
    key.chmod(0o644)
    store.entries(["x"])
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_damaged_key_is_told_with_what_to_do(store: SQLiteStore, path: Path) -> None:
    store.put(*rows(1))
    store.close()
    path.with_name("store.sqlite.key").write_bytes(b"short")
    with pytest.raises(StoreError, match="put it back from a backup, or remove it"):
        store.entries(["x"])


def test_without_its_key_nothing_of_a_store_is_believed(store: SQLiteStore, path: Path) -> None:
    entries, values = rows(3)
    store.put(entries, values)
    store.close()
    path.with_name("store.sqlite.key").unlink()
    assert store.entries(list(entries)) == {}
    store.put(entries, values)
    assert store.entries(list(entries)) == entries


def test_a_backup_is_whole_with_its_key(store: SQLiteStore, path: Path, tmp_path: Path) -> None:
    entries, values = rows(50)
    store.put(entries, values)
    target = tmp_path / "safe" / "copy.sqlite"
    store.backup(target)
    assert stat.S_IMODE(target.with_name("copy.sqlite.key").stat().st_mode) == 0o600
    copy = SQLiteStore(target)
    assert copy.entries(list(entries)) == entries
    assert copy.values(list(values)) == values
    copy.close()


# -- room ------------------------------------------------------------------------------------------------------------


def test_what_is_evicted_gives_its_room_back(store: SQLiteStore, path: Path) -> None:
    store.put(*rows(200, size=20_000))
    store.evict(max_bytes=0)
    assert path.stat().st_size < 200_000
    assert store.stats() == Stats(0, 0, 0, 0.0, 0.0, {}, {}, {})


def test_what_is_read_counts_as_used(store: SQLiteStore, path: Path) -> None:
    entries, values = rows(3)
    store.put(entries, values)
    read, *_ = entries
    raw(path, "UPDATE entries SET used = used - 5 * 86400")
    store.entries([read])
    assert store.evict(older_than=86400).entries == 2
    assert store.entries(list(entries)) == {read: entries[read]}


def test_eviction_of_a_damaged_row_is_no_trouble(store: SQLiteStore, path: Path) -> None:
    store.put(*rows(3))
    raw(path, "UPDATE entries SET used = 'never'")
    store.entries(list(rows(3)[0]))
    assert store.evict(older_than=60).entries == 3


# -- a damaged file --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("places", [40, pytest.param(500, marks=pytest.mark.slow)])
def test_verify_finds_damage_anywhere_and_repair_keeps_what_can_be_read(tmp_path: Path, places: int) -> None:
    """What `verify` calls good is good; after `repair` nothing is damaged, and one bad place costs a few rows."""
    entries, values = rows(150, size=400)
    origin = SQLiteStore(tmp_path / "whole" / "store.sqlite")
    for key, entry in entries.items():
        origin.put({key: entry}, {entry.address: values[entry.address]})
    origin.close()
    chance, shares = random.Random(15), []
    for n in range(places):
        folder = tmp_path / str(n)
        shutil.copytree(tmp_path / "whole", folder)
        what = harm(folder / "store.sqlite", chance)
        store = SQLiteStore(folder / "store.sqlite")
        told = [store.verify(repair=False), store.verify(), store.verify()]
        known, data = store.entries(list(entries)), store.values(list(values))
        assert all(entries[key] == entry for key, entry in known.items()), what
        assert all(values[address] == value for address, value in data.items()), what
        assert bool(told[0].lost) == bool(told[1].lost) and not told[2].lost, what
        assert told[1].lost or (len(known), len(data)) == (150, 150), what  # what is gone was named
        if not what.startswith("cut"):
            shares.append(len(known) / 150)
        store.close()
        shutil.rmtree(folder)
    assert sorted(shares)[len(shares) // 5] > 0.9


def test_a_damaged_file_is_named_and_only_repair_changes_it(store: SQLiteStore, path: Path) -> None:
    entries, values = rows(100, size=1000)
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


def test_what_a_budget_has_spent_outlives_the_damage(store: SQLiteStore, path: Path) -> None:
    entries, values = rows(100, size=1000)
    store.change("sweep", lambda kept: (b"spent", None))
    store.put(entries, values)
    store.close()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    assert store.verify().lost
    assert store.change("sweep", lambda kept: (None, kept)) == b"spent"


def test_a_run_that_meets_the_damage_keeps_what_can_be_read(store: SQLiteStore, path: Path) -> None:
    entries, values = rows(200, size=1000)
    store.put(entries, values)
    store.close()
    data = path.read_bytes()
    where = len(data) // 2 // 4096 * 4096
    path.write_bytes(data[:where] + bytes(3 * 4096) + data[where + 3 * 4096 :])
    for _ in range(2):  # the first may find out
        try:
            known = store.entries(list(entries))
            break
        except StoreError:
            continue
    assert len(known) > 150 and all(entries[key] == entry for key, entry in known.items())
