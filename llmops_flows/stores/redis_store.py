"""A store on a Redis server (7 or newer, or Valkey) that many machines share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from llmops_flows.core.errors import StoreError
from llmops_flows.core.store import ERROR_SECONDS, Entry, Lease

from .maintenance import TOUCH_SECONDS, EntryUsage, MonotonicClock, batches, entry_usage, valid_entries
from .redis_client import RedisClient
from .seal import ACCOUNT_SECONDS, SEAL_BYTES, read_account, seal, seal_matches
from .server_store import ServerStore
from .store_config import ServerStoreConfig

T = TypeVar("T")
log = logging.getLogger("llmops_flows.store")

# A lease is `seal owner \n error` with a time to live: only the server's clock decides when it expires.
_CLAIM = """
local leases = {}
for n, key in ipairs(KEYS) do
  local lease, left = redis.call('GET', key), redis.call('PTTL', key)
  if lease and lease ~= ARGV[n + 2] and left >= 0 and left <= tonumber(ARGV[2]) then
    leases[n] = lease
  else
    redis.call('SET', key, ARGV[n + 2], 'PX', ARGV[1])
    leases[n] = ''
  end
end
return leases
"""
_RELEASE = """
for n, key in ipairs(KEYS) do
  local lease = redis.call('GET', key)
  if lease and string.sub(lease, 33, 33 + #ARGV[1]) == ARGV[1] .. '\\n' then
    if ARGV[n + 2] == '' then redis.call('DEL', key) else redis.call('SET', key, ARGV[n + 2], 'PX', ARGV[2]) end
  end
end
"""
_COMPARE_AND_SET = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""
_DELETE_FORGED = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class RedisStore(ServerStore):
    """Rows that the server evicts, or loses in a restart, are computed again."""

    def __init__(self, config: ServerStoreConfig) -> None:
        self._redis = RedisClient(config)
        super().__init__(config)
        # Braces: a cluster keeps all rows of a space on one node, as scripts and transactions require.
        self._prefix = f"llmops_flows:{{{self._space}}}"
        self._client = self._redis.client
        self._clock = MonotonicClock()
        self._claim = self._client.register_script(_CLAIM)
        self._release = self._client.register_script(_RELEASE)
        self._compare_and_set = self._client.register_script(_COMPARE_AND_SET)
        self._delete_forged = self._client.register_script(_DELETE_FORGED)

    # -- core.store.Store and calls.budget.Ledger ------------------------------------------------------------------

    def entries(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        entries: dict[str, Entry] = {}
        for part in batches(keys):
            good, bad = self.check_entries(part)
            if bad:
                self._count_dropped("bad_seal", bad)
                self.delete_rows(bad, [])
            entries.update(self._with_value(good))
        return entries

    def put(self, entries: Mapping[str, Entry], values: Mapping[str, bytes]) -> None:
        if not entries and not values:
            return

        def write() -> None:
            now = self._clock.now()
            with self._client.pipeline(transaction=True) as pipe:
                if values:
                    pipe.mset({self._name("v", address): data for address, data in values.items()})
                if entries:
                    pipe.mset({self._name("e", key): self._entry_row(key, entry) for key, entry in entries.items()})
                    pipe.zadd(self._used, dict.fromkeys(entries, now))
                pipe.execute()

        self._redis.run(write)

    def lease(self, keys: Sequence[str], owner: str, *, seconds: float) -> Mapping[str, Lease]:
        leases: dict[str, Lease] = {}
        for part in batches(keys):
            leases.update(self._claim_leases(part, owner, seconds))
        forged = [key for key, lease in leases.items() if not lease.owner]
        return {**leases, **self._claim_leases(forged, owner, seconds)} if forged else leases

    def release(self, keys: Iterable[str], owner: str, *, error: bytes = b"") -> None:
        for part in batches(keys):
            rows = [self._lease_row(key, owner, error) if error else b"" for key in part]
            self._run_on_leases(self._release, part, [owner.encode(), int(ERROR_SECONDS * 1000), *rows])

    def change(self, name: str, work: Callable[[bytes | None], tuple[bytes | None, T]]) -> T:
        full_name = self._name("a", name)
        while True:  # until no other process changes the account in between; each round, one process succeeds
            row: bytes = self._redis.run(partial(self._client.get, full_name)) or b""
            data, result = work(read_account(self._key, name, row[:SEAL_BYTES], row[SEAL_BYTES:]) if row else None)
            if data is None:
                return result
            arguments = [row, seal(self._key, "account", name, data) + data, int(ACCOUNT_SECONDS)]
            if self._redis.run(partial(self._compare_and_set, [full_name], arguments)):
                return result

    def close(self) -> None:
        self._redis.close()

    # -- maintenance -----------------------------------------------------------------------------------------------

    def usages(self) -> Sequence[EntryUsage]:
        usages: list[EntryUsage] = []
        now = self._clock.now()
        for part in batches(self._names("e")):
            rows = self._get("e", part)
            times = self._redis.run(partial(self._client.zmscore, self._used, part))
            for key, row, used in zip(part, rows, times, strict=True):
                if row is not None:
                    _, address, meta = _split(row)
                    usages.append(entry_usage(key, address, meta, now - (used or 0.0)))
        return usages

    def value_sizes(self) -> Mapping[str, int]:
        sizes: dict[str, int] = {}
        for part in batches(self._names("v")):

            def lengths(part: list[str] = part) -> list[int]:
                with self._client.pipeline(transaction=False) as pipe:
                    for address in part:
                        pipe.strlen(self._name("v", address))
                    return list(pipe.execute())

            sizes.update(zip(part, self._redis.run(lengths), strict=True))
        return sizes

    def check_entries(self, keys: Sequence[str]) -> tuple[dict[str, Entry], list[str]]:
        rows = [(key, *_split(row)) for key, row in zip(keys, self._get("e", keys), strict=True) if row is not None]
        return valid_entries(self._key, ((key, address, meta, stored) for key, stored, address, meta in rows))

    def lease_owners(self) -> Sequence[str]:
        owners = []
        for part in batches(self._names("l")):
            for key, row in zip(part, self._get("l", part), strict=True):
                stored, owner, error = _split(row or b"")
                if not error and seal_matches(stored, self._key, "lease", key, owner, error):
                    owners.append(owner)
        return owners

    def delete_rows(self, keys: Sequence[str], addresses: Sequence[str]) -> None:
        """Also delete values that a new entry refers to: such an entry counts as unknown, and is computed again."""
        names = [*(self._name("e", key) for key in keys), *(self._name("v", address) for address in addresses)]

        def delete() -> None:
            with self._client.pipeline(transaction=True) as pipe:
                if keys:
                    pipe.zrem(self._used, *keys)
                pipe.unlink(*names)
                pipe.execute()

        if names:
            self._redis.run(delete)

    # -- rows: entries `e`, values `v`, leases `l`, accounts `a` ---------------------------------------------------

    @property
    def _used(self) -> str:
        """The sorted set of entries by time of last use."""
        return f"{self._prefix}:used"

    def _name(self, kind: str, name: str) -> str:
        return f"{self._prefix}:{kind}:{name}"

    def _get(self, kind: str, names: Sequence[str]) -> list[bytes | None]:
        full_names = [self._name(kind, name) for name in names]
        return self._redis.run(lambda: list(self._client.mget(full_names))) if full_names else []

    def _names(self, kind: str) -> list[str]:
        prefix = self._name(kind, "")
        pattern = "".join(f"\\{c}" if c in "*?[]\\" else c for c in prefix) + "*"
        names = self._redis.run(lambda: set(self._client.scan_iter(match=pattern, count=1000)))
        return sorted(name.decode("utf-8", "replace")[len(prefix) :] for name in names)

    def _entry_row(self, key: str, entry: Entry) -> bytes:
        return seal(self._key, "entry", key, entry.address, entry.meta) + entry.address.encode() + b"\n" + entry.meta

    def _lease_row(self, key: str, owner: str, error: bytes = b"") -> bytes:
        return seal(self._key, "lease", key, owner, error) + owner.encode() + b"\n" + error

    def _with_value(self, entries: Mapping[str, Entry]) -> dict[str, Entry]:
        """The entries whose values exist. Updates their time of last use once a day."""
        keys = list(entries)

        def query() -> list[Any]:
            with self._client.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.exists(self._name("v", entries[key].address))
                pipe.zmscore(self._used, keys)
                return list(pipe.execute())

        if not keys:
            return {}
        *exists, times = self._redis.run(query)
        complete = {key: entries[key] for key, has_value in zip(keys, exists, strict=True) if has_value}
        now = self._clock.now()
        used = zip(keys, times, strict=True)
        stale = [key for key, time in used if key in complete and (time or 0) < now - TOUCH_SECONDS]
        if stale:
            try:
                self._redis.run(lambda: self._client.zadd(self._used, dict.fromkeys(stale, now)))
            except StoreError as error:
                log.debug("the time of last use cannot be written: %s", error)
        return complete

    def _read_values(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        rows = zip(addresses, self._get("v", addresses), strict=True)
        return {address: data for address, data in rows if data is not None}

    def _drop_values(self, addresses: list[str]) -> None:
        self.delete_rows([], addresses)

    def _claim_leases(self, keys: Sequence[str], owner: str, seconds: float) -> dict[str, Lease]:
        """Claim keys. A forged lease is deleted, and returned without an owner."""
        if not keys:
            return {}
        longest = int(2000 * max(seconds, ERROR_SECONDS))
        arguments = [max(1, int(seconds * 1000)), longest, *(self._lease_row(key, owner) for key in keys)]
        rows = self._run_on_leases(self._claim, keys, arguments)
        leases: dict[str, Lease] = {}
        for key, row in zip(keys, rows, strict=True):
            stored, holder, error = _split(row)
            if not row:
                leases[key] = Lease(key, owner, True)
            elif seal_matches(stored, self._key, "lease", key, holder, error):
                leases[key] = Lease(key, holder, False, error)
            else:
                self.counters["bad_seal"] += 1
                self._run_on_leases(self._delete_forged, [key], [row])
                leases[key] = Lease(key, "", False)
        return leases

    def _run_on_leases(self, script: Any, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        names = [self._name("l", key) for key in keys]
        return self._redis.run(lambda: script(names, arguments))


def _split(row: bytes) -> tuple[bytes, str, bytes]:
    """Seal, name and data of a row `seal name \\n data`."""
    name, _, data = row[SEAL_BYTES:].partition(b"\n")
    return row[:SEAL_BYTES], name.decode("utf-8", "replace"), data
