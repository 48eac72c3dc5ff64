"""A store in a PostgreSQL database (12 or newer) that many machines share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from llmops_flows.core.errors import StoreError
from llmops_flows.core.store import ERROR_SECONDS, Entry, Lease

from .maintenance import TOUCH_SECONDS, EntryUsage, batches, entry_usage, valid_entries
from .postgres_pool import PostgresPool
from .seal import ACCOUNT_SECONDS, read_account, seal, seal_matches
from .server_store import ServerStore
from .store_config import ServerStoreConfig

T = TypeVar("T")
log = logging.getLogger("llmops_flows.store")

# The number is the schema version: each version has its own tables, so that two versions can share a database.
ENTRIES, CONTENTS, LEASES = "llmops_flows_entries_1", "llmops_flows_contents_1", "llmops_flows_leases_1"
ACCOUNTS = "llmops_flows_accounts_1"
_SCHEMA = f"""
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
# `ON CONFLICT` locks the row, so that concurrent claims see the outcome of the first. Only the server's clock decides
# when a lease expires. A lease that expires later than any new lease is ignored.
_CLAIM = f"""
INSERT INTO {LEASES} AS lease (space, key, owner, error, seal, expires)
SELECT %s, wanted.key, %s, '', wanted.seal, clock_timestamp() + make_interval(secs => %s)
FROM unnest(%s::text[], %s::bytea[]) AS wanted (key, seal)
ON CONFLICT (space, key) DO UPDATE SET owner = excluded.owner, error = '', seal = excluded.seal,
    expires = excluded.expires
WHERE lease.expires <= clock_timestamp() OR lease.expires > clock_timestamp() + make_interval(secs => %s)
    OR (lease.owner = excluded.owner AND lease.error = '')
RETURNING key
"""


class PostgresStore(ServerStore):
    """Rows in tables that all namespaces share; each namespace sees only its own rows."""

    def __init__(self, config: ServerStoreConfig) -> None:
        super().__init__(config)
        self._pool = PostgresPool(config, _SCHEMA, tables=(ENTRIES, LEASES, ACCOUNTS))

    # -- core.store.Store and calls.budget.Ledger ------------------------------------------------------------------

    def entries(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        entries: dict[str, Entry] = {}
        for part in batches(keys):
            rows = self._rows(
                f"SELECT key, e.address, meta, seal, extract(epoch FROM now() - used)::float8 FROM {ENTRIES} e "
                f"JOIN {CONTENTS} c ON c.space = e.space AND c.address = e.address "
                "WHERE e.space = %s AND key = ANY(%s)",
                part,
            )
            good, bad = valid_entries(self._key, rows)
            entries.update(good)
            if bad:
                self._count_dropped("bad_seal", bad)
                self._drop(ENTRIES, "key", bad)
            self._touch([row[0] for row in rows if row[0] in good and row[4] > TOUCH_SECONDS])
        return entries

    def put(self, entries: Mapping[str, Entry], values: Mapping[str, bytes]) -> None:
        # Sorted: two processes that write the same rows in different orders would deadlock.
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
            self._pool.run(write)

    def lease(self, keys: Sequence[str], owner: str, *, seconds: float) -> Mapping[str, Lease]:
        leases: dict[str, Lease] = {}
        for part in batches(sorted(set(keys))):
            leases.update(self._claim_leases(part, owner, seconds))
        return leases

    def release(self, keys: Iterable[str], owner: str, *, error: bytes = b"") -> None:
        names = sorted(set(keys))
        if not error:
            query = f"DELETE FROM {LEASES} WHERE space = %s AND owner = %s AND key = ANY(%s)"
            parameters: tuple[Any, ...] = (self._space, owner, names)
        else:
            query = (
                f"UPDATE {LEASES} l SET error = %b, seal = failed.seal, "
                "expires = clock_timestamp() + make_interval(secs => %s) FROM unnest(%s::text[], %s::bytea[]) "
                "AS failed (key, seal) WHERE l.space = %s AND l.owner = %s AND l.key = failed.key"
            )
            seals = [seal(self._key, "lease", key, owner, error) for key in names]
            parameters = (error, ERROR_SECONDS, names, seals, self._space, owner)

        def write(cursor: Any) -> None:
            cursor.execute(query, parameters)
            if error:
                expired = f"DELETE FROM {LEASES} WHERE space = %s AND expires < now() - interval '1 hour'"
                cursor.execute(expired, (self._space,))

        if names:
            self._pool.run(write)

    def change(self, name: str, work: Callable[[bytes | None], tuple[bytes | None, T]]) -> T:
        def write(cursor: Any) -> T:
            # An advisory lock, since the account may not exist yet; it ends with the transaction.
            lock = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))"
            cursor.execute(lock, (f"{self._space}/{name}",))
            query = f"SELECT seal, data FROM {ACCOUNTS} WHERE space = %s AND name = %s"
            row = cursor.execute(query, (self._space, name)).fetchone()
            data, result = work(read_account(self._key, name, *row) if row else None)
            if data is not None:
                insert = (
                    f"INSERT INTO {ACCOUNTS} VALUES (%s, %s, %b, %b, now()) ON CONFLICT (space, name) "
                    "DO UPDATE SET data = excluded.data, seal = excluded.seal, used = excluded.used"
                )
                cursor.execute(insert, (self._space, name, data, seal(self._key, "account", name, data)))
                if row is None:
                    unused = f"DELETE FROM {ACCOUNTS} WHERE used < now() - make_interval(secs => %s)"
                    cursor.execute(unused, (ACCOUNT_SECONDS,))
            return result

        return self._pool.run(write)

    def close(self) -> None:
        self._pool.close()

    # -- maintenance -----------------------------------------------------------------------------------------------

    def usages(self) -> Sequence[EntryUsage]:
        age = "extract(epoch FROM clock_timestamp() - used)::float8"
        rows = self._rows(f"SELECT key, address, meta, {age} FROM {ENTRIES} WHERE space = %s")
        return [entry_usage(*row) for row in rows]

    def value_sizes(self) -> Mapping[str, int]:
        return dict(self._rows(f"SELECT address, octet_length(data) FROM {CONTENTS} WHERE space = %s"))

    def check_entries(self, keys: Sequence[str]) -> tuple[dict[str, Entry], list[str]]:
        query = f"SELECT key, address, meta, seal FROM {ENTRIES} WHERE space = %s AND key = ANY(%s)"
        return valid_entries(self._key, self._rows(query, keys))

    def lease_owners(self) -> Sequence[str]:
        query = f"SELECT key, owner, error, seal FROM {LEASES} WHERE space = %s AND expires > clock_timestamp()"
        return [
            owner
            for key, owner, error, stored in self._rows(query)
            if not error and seal_matches(stored, self._key, "lease", key, owner, error)
        ]

    def delete_rows(self, keys: Sequence[str], addresses: Sequence[str]) -> None:
        unused = f"NOT EXISTS (SELECT FROM {ENTRIES} e WHERE e.space = c.space AND e.address = c.address)"

        def write(cursor: Any) -> None:
            # Excludes `put`: it may write an entry that relies on an existing value.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (self._space,))
            cursor.execute(f"DELETE FROM {ENTRIES} WHERE space = %s AND key = ANY(%s)", (self._space, list(keys)))
            cursor.execute(
                f"DELETE FROM {CONTENTS} c WHERE space = %s AND address = ANY(%s) AND {unused}",
                (self._space, list(addresses)),
            )

        self._pool.run(write)

    # -- rows ------------------------------------------------------------------------------------------------------

    def _rows(self, query: str, *names: Sequence[str]) -> list[Any]:
        if any(not part for part in names):
            return []
        parameters = (self._space, *map(list, names))
        return self._pool.run(lambda cursor: cursor.execute(query, parameters).fetchall())

    def _touch(self, keys: list[str]) -> None:
        """Record that entries are in use. A failed write only delays the record."""
        if keys:
            query = f"UPDATE {ENTRIES} SET used = now() WHERE space = %s AND key = ANY(%s)"
            try:
                self._pool.run(lambda cursor: cursor.execute(query, (self._space, sorted(keys))))
            except StoreError as error:
                log.debug("the time of last use cannot be written: %s", error)

    def _read_values(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        query = f"SELECT address, data FROM {CONTENTS} WHERE space = %s AND address = ANY(%s)"
        return dict(self._rows(query, addresses))

    def _drop_values(self, addresses: list[str]) -> None:
        self._drop(CONTENTS, "address", addresses)

    def _drop(self, table: str, column: str, names: list[str]) -> None:
        query = f"DELETE FROM {table} WHERE space = %s AND {column} = ANY(%s)"
        self._pool.run(lambda cursor: cursor.execute(query, (self._space, names)))

    def _claim_leases(self, keys: list[str], owner: str, seconds: float) -> dict[str, Lease]:
        """Claim sorted keys. A forged lease is deleted, and its key claimed again."""
        seals = {key: seal(self._key, "lease", key, owner, b"") for key in keys}
        longest = 2 * max(seconds, ERROR_SECONDS)
        select = f"SELECT key, owner, error, seal FROM {LEASES} WHERE space = %s AND key = ANY(%s)"
        delete = f"DELETE FROM {LEASES} WHERE space = %s AND key = %s AND seal = %b"

        def claim(cursor: Any) -> dict[str, Lease]:
            unclaimed, leases = keys, {}
            for _ in range(3):  # again for leases that were released, or forged, between the two statements
                parameters = (self._space, owner, seconds, unclaimed, [seals[key] for key in unclaimed], longest)
                granted = cursor.execute(_CLAIM, parameters).fetchall()
                leases.update({key: Lease(key, owner, True) for (key,) in granted})
                refused = [key for key in unclaimed if key not in leases]
                for key, holder, error, stored in cursor.execute(select, (self._space, refused)).fetchall():
                    if seal_matches(stored, self._key, "lease", key, holder, error):
                        leases[key] = Lease(key, holder, False, error)
                    else:
                        self.counters["bad_seal"] += 1
                        cursor.execute(delete, (self._space, key, stored))
                unclaimed = [key for key in unclaimed if key not in leases]
                if not unclaimed:
                    return leases
            raise StoreError("leases change faster than they can be claimed")

        return self._pool.run(claim)
