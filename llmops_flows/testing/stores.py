"""The contract suites for stores."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

from llmops_flows.core.fingerprint import digest
from llmops_flows.core.store import Entry, EvictionReport, MaintainedStore, StorageShare, Store, VerificationReport


class StoreContract(ABC):
    """The contract of stores. Inherit it, and implement `store`, and `another_handle` where handles can share one."""

    @abstractmethod
    def store(self) -> Store:
        """An empty store."""

    def another_handle(self, store: Store) -> Store:
        """Another handle to the data of `store`, as another process would have it."""
        return store

    def test_it_is_a_store(self) -> None:
        assert isinstance(self.store(), Store)

    def test_values_are_read_byte_for_byte(self) -> None:
        store = self.store()
        values = [b"", b"x", bytes(range(256)), "Grüße 🙂".encode(), b"\x00" * 1000, b"y" * 1_000_000]
        entries = {f"key{n}": Entry(digest(value), b'{"n":%d}' % n) for n, value in enumerate(values)}
        store.put(entries, {digest(value): value for value in values})
        other = self.another_handle(store)
        assert other.entries(list(entries)) == entries
        assert other.values([digest(value) for value in values]) == {digest(value): value for value in values}

    def test_other_keys_are_unknown(self) -> None:
        store = self.store()
        assert store.entries(["never", ""]) == {}
        assert store.values([digest(b"never")]) == {}

    def test_no_keys_give_no_results(self) -> None:
        store = self.store()
        assert (dict(store.entries([])), dict(store.values([])), dict(store.lease([], "me", seconds=1))) == ({}, {}, {})
        store.put({}, {})
        store.release([], "me")

    def test_thousands_of_keys_are_read_at_once(self) -> None:
        store = self.store()
        values = {digest(b"%d" % n): b"%d" % n for n in range(3000)}
        store.put({f"k{n}": Entry(address) for n, address in enumerate(values)}, values)
        assert len(store.entries([f"k{n}" for n in range(3500)])) == 3000
        assert store.values(list(values)) == values

    def test_the_last_entry_of_a_key_counts(self) -> None:
        store = self.store()
        for text in (b"one", b"one", b"two"):
            store.put({"key": Entry(digest(text))}, {digest(text): text})
        assert store.entries(["key"])["key"].address == digest(b"two")

    def test_a_value_that_does_not_match_its_address_is_not_read(self) -> None:
        store = self.store()
        store.put({"key": Entry(digest(b"right"))}, {digest(b"right"): b"wrong"})
        assert store.values([digest(b"right")]) == {}

    def test_one_owner_has_a_lease_until_its_release(self) -> None:
        store = self.store()
        assert store.lease(["k", "l"], "one", seconds=30)["k"].granted
        lease = self.another_handle(store).lease(["k"], "two", seconds=30)["k"]
        assert not lease.granted and lease.owner == "one"
        store.release(["k"], "one")
        assert self.another_handle(store).lease(["k"], "two", seconds=30)["k"].granted
        assert not store.lease(["k"], "one", seconds=30)["k"].granted

    def test_only_the_owner_renews_and_releases_a_lease(self) -> None:
        store = self.store()
        store.lease(["k"], "one", seconds=30)
        assert store.lease(["k"], "one", seconds=30)["k"].granted
        store.release(["k"], "two")
        assert not store.lease(["k"], "two", seconds=30)["k"].granted

    def test_a_lease_expires(self) -> None:
        store = self.store()
        store.lease(["k"], "one", seconds=0.05)
        time.sleep(0.1)
        assert store.lease(["k"], "two", seconds=30)["k"].granted

    def test_a_shifted_clock_neither_ends_nor_extends_a_lease(self) -> None:
        store = self.store()
        for hours in (1, -1):
            for seconds, expired in ((30, False), (0.05, True)):
                store.lease(["k"], "one", seconds=seconds)
                with clock_shifted(hours * 3600):
                    time.sleep(0.1 if expired else 0.0)
                    assert self.another_handle(store).lease(["k"], "two", seconds=30)["k"].granted is expired
                store.release(["k"], "two" if expired else "one")

    def test_an_error_reaches_waiting_owners(self) -> None:
        store = self.store()
        store.lease(["k"], "one", seconds=30)
        store.release(["k"], "one", error=b'{"message":"no luck"}')
        lease = self.another_handle(store).lease(["k"], "two", seconds=30)["k"]
        assert not lease.granted
        assert lease.error == b'{"message":"no luck"}'
        store.release(["k"], "one")
        assert store.lease(["k"], "two", seconds=30)["k"].granted

    def test_one_of_many_threads_gets_the_lease(self) -> None:
        store = self.store()
        granted: list[bool] = []

        def claim(n: int) -> None:
            granted.append(store.lease(["k"], f"owner{n}", seconds=30)["k"].granted)

        _run_in_threads(16, claim)
        assert sorted(granted) == [False] * 15 + [True]

    def test_entries_of_many_threads_are_all_stored(self) -> None:
        store = self.store()

        def write(n: int) -> None:
            for m in range(20):
                text = b"%d.%d" % (n, m)
                store.put({text.decode(): Entry(digest(text))}, {digest(text): text})

        _run_in_threads(8, write)
        assert len(self.another_handle(store).entries([f"{n}.{m}" for n in range(8) for m in range(20)])) == 160

    def test_a_closed_store_reopens(self) -> None:
        store = self.store()
        store.put({"key": Entry(digest(b"x"))}, {digest(b"x"): b"x"})
        store.close()
        store.close()
        store.entries(["key"])


class MaintainedStoreContract(StoreContract):
    """The contract of stores with maintenance: statistics, verification and eviction."""

    def filled_store(
        self, count: int = 0, size: int = 1000, meta: Sequence[bytes] = (b"{}",)
    ) -> tuple[Store, MaintainedStore, list[Entry]]:
        """A store with `count` entries named k0, k1 …, written one after the other, each with a value of `size`.

        The values of `meta` repeat.
        """
        store = self.store()
        assert isinstance(store, MaintainedStore)
        entries = []
        for n in range(count):
            data = b"%d" % n + bytes(size - len(str(n)))
            entries.append(Entry(digest(data), meta[n % len(meta)]))
            store.put({f"k{n}": entries[-1]}, {digest(data): data})
            time.sleep(0.002)
        return store, store, entries

    def test_statistics_count_entries_values_and_bytes(self) -> None:
        _, target, _ = self.filled_store(3)
        stats = target.stats()
        assert (stats.entries, stats.values, stats.bytes) == (3, 3, 3000)
        assert 0 <= stats.newest <= stats.oldest < 60

    def test_statistics_are_split_by_stage_and_tenant(self) -> None:
        _, target, _ = self.filled_store(
            5, meta=(b'{"stage":"model","tenant":"a"}', b'{"stage":"retrieve"}', b"no facts")
        )
        stats = target.stats()
        assert stats.stages == {
            "model": StorageShare(2, 2000),
            "retrieve": StorageShare(2, 2000),
            "": StorageShare(1, 1000),
        }
        assert stats.tenants == {"a": StorageShare(2, 2000), "": StorageShare(3, 3000)}

    def test_statistics_count_leases_by_owner(self) -> None:
        store, target, _ = self.filled_store()
        store.lease(["a", "b"], "one", seconds=30)
        store.lease(["c"], "two", seconds=30)
        store.lease(["d", "e"], "three", seconds=0.05)
        store.release(["e"], "three", error=b'{"message":"no luck"}')
        time.sleep(0.1)
        assert target.stats().leases == {"one": 2, "two": 1}

    def test_an_intact_store_is_verified(self) -> None:
        _, target, _ = self.filled_store(3)
        assert target.verify() == VerificationReport(3, 3, {})

    def test_damaged_values_are_reported_and_removed_by_a_repair(self) -> None:
        store, target, [entry] = self.filled_store(1)
        store.put({"bad": Entry(digest(b"right"), b'{"stage":"model"}')}, {digest(b"right"): b"wrong"})
        for repair in (False, True):
            lost = target.verify(repair=repair).lost
            assert set(lost) == {"bad", digest(b"right")}
            assert {damaged.stage for damaged in lost.values()} == {"model"}
        assert target.verify() == VerificationReport(1, 1, {})
        assert store.entries(["k0", "bad"]) == {"k0": entry}

    def test_eviction_by_size_keeps_the_latest_entries(self) -> None:
        store, target, entries = self.filled_store(10)
        for dry in (True, False):
            assert target.evict(max_bytes=3500, dry=dry) == EvictionReport(7, 7, 7000, {"": 7})
        names = [f"k{n}" for n in range(10)]
        assert set(self.another_handle(store).entries(names)) == {"k7", "k8", "k9"}
        assert len(store.values([entry.address for entry in entries])) == 3
        assert target.verify() == VerificationReport(3, 3, {})

    def test_the_latest_entries_stay_although_the_clock_was_set_back(self) -> None:
        store, target, _ = self.filled_store(4)
        late = {name: digest(name.encode() * 200) for name in ("late", "latest")}
        with clock_shifted(-3600):
            for name, address in late.items():
                store.put({name: Entry(address)}, {address: name.encode() * 200})
            assert target.evict(max_bytes=2000).entries == 4
            assert set(store.entries(["k0", "k1", "k2", "k3", *late])) == set(late)
            assert 0 <= target.stats().oldest < 3600
        with clock_shifted(3600):
            assert target.evict(older_than=2 * 3600) == EvictionReport(0, 0, 0, {})

    def test_eviction_by_age_removes_old_entries(self) -> None:
        store, target, entries = self.filled_store(2)
        time.sleep(0.3)
        store.put({"new": entries[0]}, {})
        assert target.evict(older_than=0.25) == EvictionReport(2, 1, 1000, {"": 2})
        assert store.entries(["k0", "k1", "new"]) == {"new": entries[0]}
        assert set(store.values([entry.address for entry in entries])) == {entries[0].address}

    def test_eviction_by_stage_or_tenant_keeps_all_others(self) -> None:
        store, target, entries = self.filled_store(6, meta=(b'{"stage":"model","tenant":"a"}', b'{"stage":"model"}'))
        store.put({"same": Entry(entries[0].address, b'{"stage":"prompt"}')}, {})
        assert target.evict(stage="model", tenant="a", max_bytes=1000) == EvictionReport(1, 1, 1000, {"model": 1})
        assert target.evict(tenant="b") == target.evict(stage="retrieve") == EvictionReport(0, 0, 0, {})
        assert target.evict(tenant="a") == EvictionReport(2, 1, 1000, {"model": 2})
        assert set(store.entries([*(f"k{n}" for n in range(6)), "same"])) == {"k1", "k3", "k5", "same"}
        assert target.verify() == VerificationReport(4, 4, {})

    def test_nothing_is_evicted_below_the_limits(self) -> None:
        _, target, _ = self.filled_store(3)
        assert target.evict(max_bytes=3000, older_than=60) == EvictionReport(0, 0, 0, {})

    def test_reads_during_an_eviction_are_right_or_unknown(self) -> None:
        store, target, entries = self.filled_store(30)
        names = [f"k{n}" for n in range(30)]
        done = threading.Event()
        wrong: list[object] = []

        def read(n: int) -> None:
            while not done.is_set():
                known = self.another_handle(store).entries(names)
                data = store.values([entry.address for entry in known.values()])
                wrong.extend(name for name, entry in known.items() if entry != entries[int(name[1:])])
                wrong.extend(address for address, value in data.items() if digest(value) != address)

        readers = [threading.Thread(target=read, args=(n,)) for n in range(3)]
        for reader in readers:
            reader.start()
        for limit in range(30_000, -1, -3_000):
            target.evict(max_bytes=limit)
        done.set()
        for reader in readers:
            reader.join()
        assert wrong == []
        assert target.stats().entries == 0


@contextmanager
def clock_shifted(seconds: float) -> Iterator[None]:
    """Shift the system clock by a number of seconds."""
    real = time.time
    with patch("time.time", lambda: real() + seconds):
        yield


def _run_in_threads(count: int, work: object) -> None:
    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
