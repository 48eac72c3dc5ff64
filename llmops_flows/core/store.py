"""The store protocol: entries, values and leases by content address; and the maintenance of stores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

ERROR_SECONDS = 5.0
"""Seconds for which waiting callers can read the error of a failed lease."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The address of the value of a key, and facts about its computation (JSON bytes).

    The facts `stage` and `tenant` come from the process that stored the entry first.
    """

    address: str
    meta: bytes = b"{}"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to compute a key. Advisory: a lost lease costs a computation, never a wrong answer.

    Attributes:
        owner: the holder.
        granted: whether the caller is the holder.
        error: why the computation failed (JSON bytes); empty while it runs.
    """

    key: str
    owner: str
    granted: bool
    error: bytes = b""


@runtime_checkable
class Store(Protocol):
    """Entries and values by content address. Every method is safe from any thread and any process.

    An entry with a wrong seal, or a value whose bytes do not match its address, is dropped and counts as unknown.
    Methods raise StoreError only when the store cannot be reached.
    """

    def entries(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        """Known key to entry."""
        ...

    def values(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        """Known address to bytes. Each value is checked against its address."""
        ...

    def put(self, entries: Mapping[str, Entry], values: Mapping[str, bytes]) -> None:
        """Store entries and values in one transaction. Idempotent."""
        ...

    def lease(self, keys: Sequence[str], owner: str, *, seconds: float) -> Mapping[str, Lease]:
        """Request leases on keys; returns for each key the lease of `owner` or of the current holder."""
        ...

    def release(self, keys: Iterable[str], owner: str, *, error: bytes = b"") -> None:
        """Release leases; waiting callers read `error` as the reason for a failed computation."""
        ...

    def close(self) -> None:
        """Release files and connections. A closed store reopens when it is used again."""
        ...


@dataclass(frozen=True, slots=True)
class StorageShare:
    """The entries and bytes of a stage or tenant in a store. A shared value counts for each stage and tenant."""

    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class StoreStats:
    """The size and content of a store.

    Attributes:
        bytes: size of the values.
        oldest, newest: seconds since the least and the most recently used entry was used (to a day).
        leases: owner to the number of keys that it computes.
        stages, tenants: stage or tenant to its share; the name is empty if it is unknown.
    """

    entries: int
    values: int
    bytes: int
    oldest: float
    newest: float
    leases: Mapping[str, int]
    stages: Mapping[str, StorageShare]
    tenants: Mapping[str, StorageShare]


@dataclass(frozen=True, slots=True)
class LostEntry:
    """A damaged entry, value or file: what it is, what is wrong, and the stage that computes it again, if known."""

    what: str
    why: str
    stage: str = ""
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """The numbers of valid entries and values; and key, address or file to the damaged item."""

    entries: int
    values: int
    lost: Mapping[str, LostEntry]


@dataclass(frozen=True, slots=True)
class EvictionReport:
    """The numbers of removed entries, values and bytes; `stages`: stage to its number of removed entries."""

    entries: int
    values: int
    bytes: int
    stages: Mapping[str, int]


@runtime_checkable
class MaintainedStore(Protocol):
    """A store with maintenance, which runs while others read and write. Every method may raise StoreError."""

    def stats(self) -> StoreStats:
        """The size and content of the store."""
        ...

    def verify(self, *, repair: bool = True) -> VerificationReport:
        """Check every entry and value; with `repair`, remove the damaged ones."""
        ...

    def evict(
        self,
        *,
        max_bytes: int | None = None,
        older_than: float | None = None,
        stage: str | None = None,
        tenant: str | None = None,
        dry: bool = False,
    ) -> EvictionReport:
        """Remove entries unused for `older_than` seconds, then the least recently used ones beyond `max_bytes`.

        Evicted answers are computed again when they are needed.

        Args:
            stage, tenant: remove only entries of this stage and tenant; `max_bytes` then applies to these entries.
                Without `max_bytes` and `older_than`, all of them are removed.
            dry: remove nothing, only report.
        """
        ...
