"""A store in a PostgreSQL database (12 or newer): many machines know what one of them has computed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from llmops_flows.core.errors import StoreError
from llmops_flows.core.store import ERROR_SECONDS, Entry, Lease

from .maintenance import TOUCH_SECONDS, EntryUsage, batches, entry_usage
from .postgres_pool import PostgresPool
from .seal import ACCOUNT_SECONDS, read_account, seal, seal_matches
from .server_store import ServerStore

if TYPE_CHECKING:
    from .store_config import ServerStoreConfig

T = TypeVar("T")
log = logging.getLogger("llmops_flows.store")

# The number is that of the schema: another one gets tables of its own, and both versions go on working.
ENTRIES, CONTENTS, LEASES = "llmops_flows_entries_1", "llmops_flows_contents_1", "llmops_flows_leases_1"
ACCOUNTS = "llmops_flows_accounts_1"
_TABLES = f"""
CREATE TABLE IF NOT EXISTS {ENTRIES} (
    space text, key text, address text NOT NULL, meta bytea NOT NULL, seal bytea NOT NULL, used timestamptz NOT NULL,
    PRIMARY KEY (space, key));
CREATE INDEX IF NOT EXISTS {ENTRIES}_address ON {ENTRIES} (space, address);
CREATE TABLE IF NOT EXISTS {CONTENTS} (space text, address text, data bytea NOT NULL, PRIMARY KEY (space, address));
ALTER TABLE {CONTENTS} ALTER data SET STORAGE EXTERNAL;
CREATE TABLE IF NOT EXISTS {LEASES} (
    space text, key text, owner text NOT NULL, error bytea NOT NULL, seal bytea NOT NULL,
    expires timestamptz NOT NULL, PRIMARY KEY (space, key));
CREATE TABLE IF NOT EXISTS {ACCOUNTS} (
    space text, name text, data bytea NOT NULL, seal bytea NOT NULL, used timestamptz NOT NULL,
    PRIMARY KEY (space, name));
"""
# Whoever waits for a row that another one is claiming sees the outcome: `on conflict` locks the row. The server's
# clock alone decides when a lease is over; one that ends absurdly late is nobody's.
_CLAIM = f"""
INSERT INTO {LEASES} AS held (space, key, owner, error, seal, expires)
SELECT %s, wanted.key, %s, '', wanted.seal, clock_timestamp() + make_interval(secs => %s)
FROM unnest(%s::text[], %s::bytea[]) AS wanted (key, seal)
ON CONFLICT (space, key) DO UPDATE SET owner = excluded.owner, error = '', seal = excluded.seal,
    expires = excluded.expires
WHERE held.expires <= clock_timestamp() OR held.expires > clock_timestamp() + make_interval(secs => %s)
    OR (held.owner = excluded.owner AND held.error = '')
RETURNING key
"""


class PostgresStore(ServerStore):
    """Rows in tables that all namespaces share, of which each sees its own."""

    def __init__(self, config: ServerStoreConfig) -> None:
        super().__init__(config)
        self._pool = PostgresPool(config, _TABLES, needs=(ENTRIES, LEASES, ACCOUNTS))

    # -- what the runner asks ------------------------------------------------------------------------------------

    def entries(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        known: dict[str, Entry] = {}
        for part in batches(keys):
            rows = self._rows(
                f"SELECT key, e.address, meta, seal, extract(epoch FROM now() - used)::float8 FROM {ENTRIES} e "
                f"JOIN {CONTENTS} c ON c.space = e.space AND c.address = e.address "
                "WHERE e.space = %s AND key = ANY(%s)",
                part,
            )
            found, bad = self._good(rows)
            known.update(found)
            if bad:
                self._dropped("bad_seal", bad)
                self._drop(ENTRIES, "key", bad)
            self._touch([row[0] for row in rows if row[0] in found and row[4] > TOUCH_SECONDS])
        return known

    def put(self, entries: Mapping[str, Entry], values: Mapping[str, bytes]) -> None:
        # Sorted: two that write the same rows in another order would lock each other out.
        data = [(self._space, address, value) for address, value in sorted(values.items())]
        rows = [
            (self._space, key, e.address, e.meta, seal(self._key, "entry", key, e.address, e.meta))
            for key, e in sorted(entries.items())
        ]

        def write(cursor: Any) -> None:
            cursor.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 0))", (self._space,))
            if data:
                cursor.executemany(f"INSERT INTO {CONTENTS} VALUES (%s, %s, %b) ON CONFLICT DO NOTHING", data)
            if rows:
                cursor.executemany(
                    f"INSERT INTO {ENTRIES} VALUES (%s, %s, %s, %b, %b, now()) ON CONFLICT (space, key) "
                    "DO UPDATE SET "
                    "address = excluded.address, meta = excluded.meta, seal = excluded.seal, used = excluded.used",
                    rows,
                )

        if data or rows:
            self._pool.do(write)

    def lease(self, keys: Sequence[str], owner: str, *, seconds: float) -> Mapping[str, Lease]:
        found: dict[str, Lease] = {}
        for part in batches(sorted(set(keys))):
            found.update(self._leased(part, owner, seconds))
        return found

    def release(self, keys: Iterable[str], owner: str, *, error: bytes = b"") -> None:
        listed = sorted(set(keys))
        seals = [seal(self._key, "lease", key, owner, error) for key in listed]
        if not error:
            text = f"DELETE FROM {LEASES} WHERE space = %s AND owner = %s AND key = ANY(%s)"
            values: tuple[Any, ...] = (self._space, owner, listed)
        else:
            text = (
                f"UPDATE {LEASES} l SET error = %b, seal = gone.seal, "
                "expires = clock_timestamp() + make_interval(secs => %s) FROM unnest(%s::text[], %s::bytea[]) "
                "AS gone (key, seal) WHERE l.space = %s AND l.owner = %s AND l.key = gone.key"
            )
            values = (error, ERROR_SECONDS, listed, seals, self._space, owner)

        def write(cursor: Any) -> None:
            cursor.execute(text, values)
            if error:
                over = f"DELETE FROM {LEASES} WHERE space = %s AND expires < now() - interval '1 hour'"
                cursor.execute(over, (self._space,))

        if listed:
            self._pool.do(write)

    def change(self, name: str, work: Callable[[bytes | None], tuple[bytes | None, T]]) -> T:
        def write(cursor: Any) -> T:
            # The lock is there before the account is; it ends with the transaction.
            lock = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))"
            cursor.execute(lock, (f"{self._space}/{name}",))
            found = f"SELECT seal, data FROM {ACCOUNTS} WHERE space = %s AND name = %s"
            row = cursor.execute(found, (self._space, name)).fetchone()
            data, answer = work(read_account(self._key, name, *row) if row else None)
            if data is not None:
                put = (
                    f"INSERT INTO {ACCOUNTS} VALUES (%s, %s, %b, %b, now()) ON CONFLICT (space, name) "
                    "DO UPDATE SET data = excluded.data, seal = excluded.seal, used = excluded.used"
                )
                cursor.execute(put, (self._space, name, data, seal(self._key, "account", name, data)))
                if row is None:
                    over = f"DELETE FROM {ACCOUNTS} WHERE used < now() - make_interval(secs => %s)"
                    cursor.execute(over, (ACCOUNT_SECONDS,))
            return answer

        return self._pool.do(write)

    def close(self) -> None:
        self._pool.close()

    # -- care ------------------------------------------------------------------------------------------------------

    def usages(self) -> Sequence[EntryUsage]:
        age = "extract(epoch FROM clock_timestamp() - used)::float8"
        return [
            entry_usage(*row) for row in self._rows(f"SELECT key, address, meta, {age} FROM {ENTRIES} WHERE space = %s")
        ]

    def value_sizes(self) -> Mapping[str, int]:
        return dict(self._rows(f"SELECT address, octet_length(data) FROM {CONTENTS} WHERE space = %s"))

    def check_entries(self, keys: Sequence[str]) -> tuple[dict[str, Entry], list[str]]:
        text = f"SELECT key, address, meta, seal FROM {ENTRIES} WHERE space = %s AND key = ANY(%s)"
        return self._good(self._rows(text, keys))

    def lease_owners(self) -> Sequence[str]:
        text = f"SELECT key, owner, error, seal FROM {LEASES} WHERE space = %s AND expires > clock_timestamp()"
        rows = [row for row in self._rows(text) if not row[2]]
        return [owner for key, owner, error, kept in rows if seal_matches(kept, self._key, "lease", key, owner, error)]

    def delete_rows(self, keys: Sequence[str], addresses: Sequence[str]) -> None:
        unneeded = f"NOT EXISTS (SELECT FROM {ENTRIES} e WHERE e.space = c.space AND e.address = c.address)"

        def write(cursor: Any) -> None:
            # Not while somebody writes an entry that relies on a value which is there.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (self._space,))
            cursor.execute(f"DELETE FROM {ENTRIES} WHERE space = %s AND key = ANY(%s)", (self._space, list(keys)))
            cursor.execute(
                f"DELETE FROM {CONTENTS} c WHERE space = %s AND address = ANY(%s) AND {unneeded}",
                (self._space, list(addresses)),
            )

        self._pool.do(write)

    # -- rows ------------------------------------------------------------------------------------------------------

    def _rows(self, text: str, *more: Sequence[str]) -> list[Any]:
        if any(not names for names in more):
            return []
        values = (self._space, *map(list, more))
        return self._pool.do(lambda cursor: cursor.execute(text, values).fetchall())

    def _good(self, rows: list[Any]) -> tuple[dict[str, Entry], list[str]]:
        found, bad = {}, []
        for key, address, meta, kept, *_ in rows:
            if seal_matches(kept, self._key, "entry", key, address, meta):
                found[key] = Entry(address, meta)
            else:
                bad.append(key)
        return found, bad

    def _touch(self, keys: list[str]) -> None:
        """Note that entries are in use, once a day; what cannot be written is only noted too late."""
        if keys:
            text = f"UPDATE {ENTRIES} SET used = now() WHERE space = %s AND key = ANY(%s)"
            try:
                self._pool.do(lambda cursor: cursor.execute(text, (self._space, sorted(keys))))
            except StoreError as error:
                log.debug("what is in use could not be noted: %s", error)

    def _data(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        text = f"SELECT address, data FROM {CONTENTS} WHERE space = %s AND address = ANY(%s)"
        return dict(self._rows(text, addresses))

    def _drop_values(self, addresses: list[str]) -> None:
        self._drop(CONTENTS, "address", addresses)

    def _drop(self, table: str, column: str, names: list[str]) -> None:
        text = f"DELETE FROM {table} WHERE space = %s AND {column} = ANY(%s)"
        self._pool.do(lambda cursor: cursor.execute(text, (self._space, names)))

    # -- leases ----------------------------------------------------------------------------------------------------

    def _leased(self, keys: list[str], owner: str, seconds: float) -> dict[str, Lease]:
        """Claim sorted keys. A lease that nobody of us wrote counts as none."""
        seals = {key: seal(self._key, "lease", key, owner, b"") for key in keys}
        longest = 2 * max(seconds, ERROR_SECONDS)
        theirs = f"SELECT key, owner, error, seal FROM {LEASES} WHERE space = %s AND key = ANY(%s)"

        def claim(cursor: Any) -> dict[str, Lease]:
            wanted, found = keys, {}
            for _ in range(3):  # what was given back, or forged, between the two statements is claimed again
                row = (self._space, owner, seconds, wanted, [seals[key] for key in wanted], longest)
                found.update({key: Lease(key, owner, True) for (key,) in cursor.execute(_CLAIM, row).fetchall()})
                rest = [key for key in wanted if key not in found]
                for key, holder, error, kept in cursor.execute(theirs, (self._space, rest)).fetchall():
                    if seal_matches(kept, self._key, "lease", key, holder, error):
                        found[key] = Lease(key, holder, False, error)
                    else:
                        self.counters["bad_seal"] += 1
                        forged = f"DELETE FROM {LEASES} WHERE space = %s AND key = %s AND seal = %b"
                        cursor.execute(forged, (self._space, key, kept))
                wanted = [key for key in wanted if key not in found]
                if not wanted:
                    return found
            raise StoreError("leases change hands faster than they can be claimed")

        return self._pool.do(claim)
