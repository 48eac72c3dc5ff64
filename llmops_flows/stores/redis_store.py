"""A store on a Redis server (7 or newer, or Valkey): many machines know what one of them has computed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from llmops_flows.core.errors import StoreError
from llmops_flows.core.store import ERROR_SECONDS, Entry, Lease

from .maintenance import TOUCH_SECONDS, EntryUsage, MonotonicClock, batches, entry_usage
from .redis_client import RedisClient
from .seal import ACCOUNT_SECONDS, SEAL_BYTES, read_account, seal, seal_matches
from .server_store import ServerStore

if TYPE_CHECKING:
    from .store_config import ServerStoreConfig

T = TypeVar("T")
log = logging.getLogger("llmops_flows.store")

# A lease is `seal owner \n error`, with a time to live: Redis's clock alone decides when it is over.
_CLAIM = """
local found = {}
for n, key in ipairs(KEYS) do
  local held, left = redis.call('GET', key), redis.call('PTTL', key)
  if held and held ~= ARGV[n + 2] and left >= 0 and left <= tonumber(ARGV[2]) then
    found[n] = held
  else
    redis.call('SET', key, ARGV[n + 2], 'PX', ARGV[1])
    found[n] = ''
  end
end
return found
"""
_RELEASE = """
for n, key in ipairs(KEYS) do
  local held = redis.call('GET', key)
  if held and string.sub(held, 33, 33 + #ARGV[1]) == ARGV[1] .. '\\n' then
    if ARGV[n + 2] == '' then redis.call('DEL', key) else redis.call('SET', key, ARGV[n + 2], 'PX', ARGV[2]) end
  end
end
"""
_PUT = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""
_FORGED = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class RedisStore(ServerStore):
    """Rows may vanish at any time (evicted by the server, a restart without persistence): they are computed again."""

    def __init__(self, config: ServerStoreConfig) -> None:
        self._link = RedisClient(config)
        super().__init__(config)
        # Braces: on a cluster, all rows of a space lie on one node, as scripts and transactions want it.
        self._prefix = f"llmops_flows:{{{self._space}}}"
        self._client = self._link.client
        self._time = MonotonicClock()
        scripts = (_CLAIM, _RELEASE, _FORGED, _PUT)
        self._claim, self._release, self._forged, self._put = map(self._client.register_script, scripts)

    # -- what the runner asks ------------------------------------------------------------------------------------

    def entries(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        known: dict[str, Entry] = {}
        for part in batches(keys):
            found, bad = self.check_entries(part)
            if bad:
                self._dropped("bad_seal", bad)
                self.delete_rows(bad, [])
            known.update(self._with_value(found))
        return known

    def put(self, entries: Mapping[str, Entry], values: Mapping[str, bytes]) -> None:
        if not entries and not values:
            return

        def write() -> None:
            now = self._time.now()
            with self._client.pipeline(transaction=True) as pipe:
                if values:
                    pipe.mset({self._name("v", address): data for address, data in values.items()})
                if entries:
                    pipe.mset({self._name("e", key): self._row(key, entry) for key, entry in entries.items()})
                    pipe.zadd(self._used, dict.fromkeys(entries, now))
                pipe.execute()

        self._link.ask(write)

    def lease(self, keys: Sequence[str], owner: str, *, seconds: float) -> Mapping[str, Lease]:
        found: dict[str, Lease] = {}
        for part in batches(keys):
            found.update(self._leased(part, owner, seconds))
        forged = [key for key, lease in found.items() if not lease.owner]
        return {**found, **self._leased(forged, owner, seconds)} if forged else found

    def release(self, keys: Iterable[str], owner: str, *, error: bytes = b"") -> None:
        for part in batches(keys):
            after = [self._held(key, owner, error) if error else b"" for key in part]
            arguments = [owner.encode(), int(ERROR_SECONDS * 1000), *after]
            self._run(self._release, part, arguments)

    def change(self, name: str, work: Callable[[bytes | None], tuple[bytes | None, T]]) -> T:
        place = self._name("a", name)
        while True:  # as often as somebody else was faster: each time, one of all is through
            row: bytes = self._link.ask(partial(self._client.get, place)) or b""
            data, answer = work(read_account(self._key, name, row[:SEAL_BYTES], row[SEAL_BYTES:]) if row else None)
            if data is None:
                return answer
            after = [row, seal(self._key, "account", name, data) + data, int(ACCOUNT_SECONDS)]
            if self._link.ask(partial(self._put, [place], after)):
                return answer

    def close(self) -> None:
        self._link.close()

    # -- care ------------------------------------------------------------------------------------------------------

    def usages(self) -> Sequence[EntryUsage]:
        found: list[EntryUsage] = []
        now = self._time.now()
        for part in batches(self._names("e")):
            rows = self._get("e", part)
            times = self._link.ask(partial(self._client.zmscore, self._used, part))
            for key, row, when in zip(part, rows, times, strict=True):
                if row is not None:
                    address, _, meta = row[SEAL_BYTES:].partition(b"\n")
                    found.append(entry_usage(key, address.decode("utf-8", "replace"), meta, now - (when or 0.0)))
        return found

    def value_sizes(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for part in batches(self._names("v")):

            def lengths(part: list[str] = part) -> list[int]:
                with self._client.pipeline(transaction=False) as pipe:
                    for address in part:
                        pipe.strlen(self._name("v", address))
                    return list(pipe.execute())

            found.update(zip(part, self._link.ask(lengths), strict=True))
        return found

    def check_entries(self, keys: Sequence[str]) -> tuple[dict[str, Entry], list[str]]:
        found, bad = {}, []
        rows = self._get("e", keys)
        for key, row in zip(keys, rows, strict=True):
            if row is None:
                continue
            address, _, meta = row[SEAL_BYTES:].partition(b"\n")
            entry = Entry(address.decode("utf-8", "replace"), meta)
            if seal_matches(row[:SEAL_BYTES], self._key, "entry", key, entry.address, meta):
                found[key] = entry
            else:
                bad.append(key)
        return found, bad

    def lease_owners(self) -> Sequence[str]:
        found = []
        for part in batches(self._names("l")):
            for key, row in zip(part, self._get("l", part), strict=True):
                holder, _, error = (row or b"")[SEAL_BYTES:].partition(b"\n")
                name = holder.decode("utf-8", "replace")
                if row and not error and seal_matches(row[:SEAL_BYTES], self._key, "lease", key, name, error):
                    found.append(name)
        return found

    def delete_rows(self, keys: Sequence[str], addresses: Sequence[str]) -> None:
        """A value that an entry names by now goes too: whoever asks for the entry computes it again."""
        names = [*(self._name("e", key) for key in keys), *(self._name("v", address) for address in addresses)]

        def delete() -> None:
            with self._client.pipeline(transaction=True) as pipe:
                if keys:
                    pipe.zrem(self._used, *keys)
                pipe.unlink(*names)
                pipe.execute()

        if names:
            self._link.ask(delete)

    # -- rows ------------------------------------------------------------------------------------------------------

    @property
    def _used(self) -> str:
        return f"{self._prefix}:used"

    def _name(self, kind: str, name: str) -> str:
        return f"{self._prefix}:{kind}:{name}"

    def _get(self, kind: str, names: Sequence[str]) -> list[bytes | None]:
        full = [self._name(kind, name) for name in names]
        return self._link.ask(lambda: list(self._client.mget(full))) if full else []

    def _names(self, kind: str) -> list[str]:
        start = self._name(kind, "")
        pattern = "".join(f"\\{c}" if c in "*?[]\\" else c for c in start) + "*"
        found = self._link.ask(lambda: set(self._client.scan_iter(match=pattern, count=1000)))
        return sorted(name.decode("utf-8", "replace")[len(start) :] for name in found)

    def _row(self, key: str, entry: Entry) -> bytes:
        return seal(self._key, "entry", key, entry.address, entry.meta) + entry.address.encode() + b"\n" + entry.meta

    def _with_value(self, entries: Mapping[str, Entry]) -> dict[str, Entry]:
        """Those of the entries whose value is there; that they are in use is noted once a day."""
        keys = list(entries)

        def ask() -> list[Any]:
            with self._client.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.exists(self._name("v", entries[key].address))
                pipe.zmscore(self._used, keys)
                return list(pipe.execute())

        if not keys:
            return {}
        *there, used = self._link.ask(ask)
        known = {key: entries[key] for key, is_there in zip(keys, there, strict=True) if is_there}
        now = self._time.now()
        stale = [
            key for key, when in zip(keys, used, strict=True) if key in known and (when or 0) < now - TOUCH_SECONDS
        ]
        if stale:
            try:
                self._link.ask(lambda: self._client.zadd(self._used, dict.fromkeys(stale, now)))
            except StoreError as error:
                log.debug("what is in use could not be noted: %s", error)
        return known

    def _data(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        rows = zip(addresses, self._get("v", addresses), strict=True)
        return {address: data for address, data in rows if data is not None}

    def _drop_values(self, addresses: list[str]) -> None:
        self.delete_rows([], addresses)

    # -- leases ----------------------------------------------------------------------------------------------------

    def _held(self, key: str, owner: str, error: bytes = b"") -> bytes:
        return seal(self._key, "lease", key, owner, error) + owner.encode() + b"\n" + error

    def _leased(self, keys: Sequence[str], owner: str, seconds: float) -> dict[str, Lease]:
        """Claim keys. A lease that nobody of us wrote is removed, and comes back with no owner."""
        if not keys:
            return {}
        longest = int(2000 * max(seconds, ERROR_SECONDS))
        arguments = [max(1, int(seconds * 1000)), longest, *(self._held(key, owner) for key in keys)]
        rows = self._run(self._claim, keys, arguments)
        found: dict[str, Lease] = {}
        for key, row in zip(keys, rows, strict=True):
            holder, _, error = row[SEAL_BYTES:].partition(b"\n")
            name = holder.decode("utf-8", "replace")
            if not row:
                found[key] = Lease(key, owner, True)
            elif seal_matches(row[:SEAL_BYTES], self._key, "lease", key, name, error):
                found[key] = Lease(key, name, False, error)
            else:
                self.counters["bad_seal"] += 1
                self._run(self._forged, [key], [row])
                found[key] = Lease(key, "", False)
        return found

    def _run(self, script: Any, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        names = [self._name("l", key) for key in keys]
        return self._link.ask(lambda: script(names, arguments))
