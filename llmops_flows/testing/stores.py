"""What every store must do, as a suite to inherit."""

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
    """What holds for every store. Inherit, and give `store`; where several handles can share a store, `again` too."""

    @abstractmethod
    def store(self) -> Store:
        """An empty store."""

    def again(self, store: Store) -> Store:
        """Another handle to what `store` holds, as another process would have it."""
        return store

    def test_it_is_a_store(self) -> None:
        assert isinstance(self.store(), Store)

    def test_what_is_put_comes_back_byte_for_byte(self) -> None:
        store = self.store()
        values = [b"", b"x", bytes(range(256)), "Grüße 🙂".encode(), b"\x00" * 1000, b"y" * 1_000_000]
        entries = {f"key{n}": Entry(digest(value), b'{"n":%d}' % n) for n, value in enumerate(values)}
        store.put(entries, {digest(value): value for value in values})
        other = self.again(store)
        assert other.entries(list(entries)) == entries
        assert other.values([digest(value) for value in values]) == {digest(value): value for value in values}

    def test_what_was_never_put_is_unknown(self) -> None:
        store = self.store()
        assert store.entries(["never", ""]) == {}
        assert store.values([digest(b"never")]) == {}

    def test_asking_for_nothing_gives_nothing(self) -> None:
        store = self.store()
        assert (dict(store.entries([])), dict(store.values([])), dict(store.lease([], "me", seconds=1))) == (
            {},
            {},
            {},
        )
        store.put({}, {})
        store.release([], "me")

    def test_thousands_of_keys_are_asked_for_at_once(self) -> None:
        store = self.store()
        values = {digest(b"%d" % n): b"%d" % n for n in range(3000)}
        store.put({f"k{n}": Entry(address) for n, address in enumerate(values)}, values)
        assert len(store.entries([f"k{n}" for n in range(3500)])) == 3000
        assert store.values(list(values)) == values

    def test_putting_the_same_twice_is_harmless_and_the_last_entry_counts(self) -> None:
        store = self.store()
        for text in (b"one", b"one", b"two"):
            store.put({"key": Entry(digest(text))}, {digest(text): text})
        assert store.entries(["key"])["key"].address == digest(b"two")

    def test_a_value_that_does_not_fit_its_address_never_comes_back(self) -> None:
        store = self.store()
        store.put({"key": Entry(digest(b"right"))}, {digest(b"right"): b"wrong"})
        assert store.values([digest(b"right")]) == {}

    def test_one_owner_has_a_lease_until_it_is_given_back(self) -> None:
        store = self.store()
        assert store.lease(["k", "l"], "one", seconds=30)["k"].granted
        theirs = self.again(store).lease(["k"], "two", seconds=30)["k"]
        assert not theirs.granted and theirs.owner == "one"
        store.release(["k"], "one")
        assert self.again(store).lease(["k"], "two", seconds=30)["k"].granted
        assert not store.lease(["k"], "one", seconds=30)["k"].granted

    def test_an_owner_renews_its_lease_and_nobody_else_can_give_it_back(self) -> None:
        store = self.store()
        store.lease(["k"], "one", seconds=30)
        assert store.lease(["k"], "one", seconds=30)["k"].granted
        store.release(["k"], "two")
        assert not store.lease(["k"], "two", seconds=30)["k"].granted

    def test_a_lease_ends_with_its_time(self) -> None:
        store = self.store()
        store.lease(["k"], "one", seconds=0.05)
        time.sleep(0.1)
        assert store.lease(["k"], "two", seconds=30)["k"].granted

    def test_setting_the_clock_gives_a_lease_to_nobody_else_and_keeps_none_for_ever(self) -> None:
        store = self.store()
        for hours in (1, -1):
            for seconds, mine in ((30, False), (0.05, True)):
                store.lease(["k"], "one", seconds=seconds)
                with clock_shifted(hours * 3600):
                    time.sleep(0.1 if mine else 0.0)
                    assert self.again(store).lease(["k"], "two", seconds=30)["k"].granted is mine
                store.release(["k"], "two" if mine else "one")

    def test_an_error_reaches_those_who_wait(self) -> None:
        store = self.store()
        store.lease(["k"], "one", seconds=30)
        store.release(["k"], "one", error=b'{"message":"no luck"}')
        told = self.again(store).lease(["k"], "two", seconds=30)["k"]
        assert not told.granted
        assert told.error == b'{"message":"no luck"}'
        store.release(["k"], "one")
        assert store.lease(["k"], "two", seconds=30)["k"].granted

    def test_of_many_threads_one_gets_the_lease(self) -> None:
        store = self.store()
        mine: list[bool] = []

        def claim(n: int) -> None:
            mine.append(store.lease(["k"], f"owner{n}", seconds=30)["k"].granted)

        _together(16, claim)
        assert sorted(mine) == [False] * 15 + [True]

    def test_what_many_threads_put_is_all_there(self) -> None:
        store = self.store()

        def write(n: int) -> None:
            for m in range(20):
                text = b"%d.%d" % (n, m)
                store.put({text.decode(): Entry(digest(text))}, {digest(text): text})

        _together(8, write)
        assert len(self.again(store).entries([f"{n}.{m}" for n in range(8) for m in range(20)])) == 160

    def test_a_closed_store_opens_itself_again(self) -> None:
        store = self.store()
        store.put({"key": Entry(digest(b"x"))}, {digest(b"x"): b"x"})
        store.close()
        store.close()
        store.entries(["key"])


class MaintainedStoreContract(StoreContract):
    """What holds for stores that can be looked after: they tell what they hold, what was lost, and let go of it."""

    def tended(
        self, count: int = 0, size: int = 1000, meta: Sequence[bytes] = (b"{}",)
    ) -> tuple[Store, MaintainedStore, list[Entry]]:
        """A store with `count` entries named k0, k1 …, written one after the other, each with a value of `size`.

        The facts of `meta` go round.
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

    def test_it_says_how_much_it_holds(self) -> None:
        _, care, _ = self.tended(3)
        found = care.stats()
        assert (found.entries, found.values, found.bytes) == (3, 3, 3000)
        assert 0 <= found.newest <= found.oldest < 60

    def test_it_says_of_what_it_holds_how_much(self) -> None:
        _, care, _ = self.tended(5, meta=(b'{"stage":"model","tenant":"a"}', b'{"stage":"retrieve"}', b"no facts"))
        found = care.stats()
        assert found.stages == {
            "model": StorageShare(2, 2000),
            "retrieve": StorageShare(2, 2000),
            "": StorageShare(1, 1000),
        }
        assert found.tenants == {"a": StorageShare(2, 2000), "": StorageShare(3, 3000)}

    def test_it_says_who_computes_something_just_now(self) -> None:
        store, care, _ = self.tended()
        store.lease(["a", "b"], "one", seconds=30)
        store.lease(["c"], "two", seconds=30)
        store.lease(["d", "e"], "three", seconds=0.05)
        store.release(["e"], "three", error=b'{"message":"no luck"}')
        time.sleep(0.1)
        assert care.stats().leases == {"one": 2, "two": 1}

    def test_a_whole_store_is_found_whole(self) -> None:
        _, care, _ = self.tended(3)
        assert care.verify() == VerificationReport(3, 3, {})

    def test_a_value_that_does_not_fit_is_named_first_and_dropped_when_that_is_wished(self) -> None:
        store, care, [entry] = self.tended(1)
        store.put({"bad": Entry(digest(b"right"), b'{"stage":"model"}')}, {digest(b"right"): b"wrong"})
        for repair in (False, True):
            lost = care.verify(repair=repair).lost
            assert set(lost) == {"bad", digest(b"right")}
            assert {one.stage for one in lost.values()} == {"model"}
        assert care.verify() == VerificationReport(1, 1, {})
        assert store.entries(["k0", "bad"]) == {"k0": entry}

    def test_what_is_too_much_goes_and_the_latest_stays(self) -> None:
        store, care, entries = self.tended(10)
        for dry in (True, False):
            assert care.evict(max_bytes=3500, dry=dry) == EvictionReport(7, 7, 7000, {"": 7})
        names = [f"k{n}" for n in range(10)]
        assert set(self.again(store).entries(names)) == {"k7", "k8", "k9"}
        assert len(store.values([entry.address for entry in entries])) == 3
        assert care.verify() == VerificationReport(3, 3, {})

    def test_what_was_written_last_stays_though_the_clock_was_set_back(self) -> None:
        store, care, _ = self.tended(4)
        late = {name: digest(name.encode() * 200) for name in ("late", "latest")}
        with clock_shifted(-3600):
            for name, address in late.items():
                store.put({name: Entry(address)}, {address: name.encode() * 200})
            assert care.evict(max_bytes=2000).entries == 4
            assert set(store.entries(["k0", "k1", "k2", "k3", *late])) == set(late)
            assert 0 <= care.stats().oldest < 3600
        with clock_shifted(3600):
            assert care.evict(older_than=2 * 3600) == EvictionReport(0, 0, 0, {})

    def test_what_is_too_old_goes(self) -> None:
        store, care, entries = self.tended(2)
        time.sleep(0.3)
        store.put({"new": entries[0]}, {})
        assert care.evict(older_than=0.25) == EvictionReport(2, 1, 1000, {"": 2})
        assert store.entries(["k0", "k1", "new"]) == {"new": entries[0]}
        assert set(store.values([entry.address for entry in entries])) == {entries[0].address}

    def test_of_one_stage_or_tenant_goes_what_is_asked_for_and_all_else_stays(self) -> None:
        store, care, entries = self.tended(6, meta=(b'{"stage":"model","tenant":"a"}', b'{"stage":"model"}'))
        store.put({"same": Entry(entries[0].address, b'{"stage":"prompt"}')}, {})
        assert care.evict(stage="model", tenant="a", max_bytes=1000) == EvictionReport(1, 1, 1000, {"model": 1})
        assert care.evict(tenant="b") == care.evict(stage="retrieve") == EvictionReport(0, 0, 0, {})
        assert care.evict(tenant="a") == EvictionReport(2, 1, 1000, {"model": 2})
        assert set(store.entries([*(f"k{n}" for n in range(6)), "same"])) == {"k1", "k3", "k5", "same"}
        assert care.verify() == VerificationReport(4, 4, {})

    def test_nothing_goes_while_there_is_room(self) -> None:
        _, care, _ = self.tended(3)
        assert care.evict(max_bytes=3000, older_than=60) == EvictionReport(0, 0, 0, {})

    def test_while_others_evict_what_is_read_is_right_or_unknown(self) -> None:
        store, care, entries = self.tended(30)
        names = [f"k{n}" for n in range(30)]
        done = threading.Event()
        wrong: list[object] = []

        def read(n: int) -> None:
            while not done.is_set():
                known = self.again(store).entries(names)
                data = store.values([entry.address for entry in known.values()])
                wrong.extend(name for name, entry in known.items() if entry != entries[int(name[1:])])
                wrong.extend(address for address, value in data.items() if digest(value) != address)

        readers = [threading.Thread(target=read, args=(n,)) for n in range(3)]
        for reader in readers:
            reader.start()
        for room in range(30_000, -1, -3_000):
            care.evict(max_bytes=room)
        done.set()
        for reader in readers:
            reader.join()
        assert wrong == []
        assert care.stats().entries == 0


@contextmanager
def clock_shifted(seconds: float) -> Iterator[None]:
    """What happens to processes when somebody sets the clock of their machine on (or back)."""
    real = time.time
    with patch("time.time", lambda: real() + seconds):
        yield


def _together(count: int, work: object) -> None:
    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
