"""What the runner asks of a store: entries, values and leases by content address."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

ERROR_SECONDS = 5.0
"""How long those who wait can learn that the work failed, and why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known under a key: the address of the value, and plain facts about how it was made (JSON bytes).

    Of the facts, `stage` and `tenant` tell people what a store holds. They are what the first writer said.
    """

    address: str
    meta: bytes = b"{}"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to compute a key. Advisory: a lost lease costs a computation, never a wrong answer.

    `owner` is who holds it; `error` is set when the holder gave up, and says why (JSON bytes).
    """

    key: str
    owner: str
    granted: bool
    error: bytes = b""


@runtime_checkable
class Store(Protocol):
    """Entries and values by content address. Every method is safe from any thread and any process.

    Nothing that cannot be trusted comes back: an entry whose seal or a value whose address does not fit its bytes
    is dropped and counts as unknown. Methods raise StoreError only when the store cannot be reached at all.
    """

    def entries(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        """The known ones of `keys`."""
        ...

    def values(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        """The bytes of the known ones of `addresses`, each checked against its address."""
        ...

    def put(self, entries: Mapping[str, Entry], values: Mapping[str, bytes]) -> None:
        """Keep entries and values in one transaction; writing the same twice is harmless."""
        ...

    def lease(self, keys: Sequence[str], owner: str, *, seconds: float) -> Mapping[str, Lease]:
        """Ask for the right to compute `keys`; for each says whether `owner` now has it or who has."""
        ...

    def release(self, keys: Iterable[str], owner: str, *, error: bytes = b"") -> None:
        """Give leases back; with `error`, those who wait for the keys learn that they failed, and why."""
        ...

    def close(self) -> None:
        """Release files and connections. A closed store may be used again; it reopens itself."""
        ...


@dataclass(frozen=True, slots=True)
class StorageShare:
    """How much of a store belongs to something. A value that several share counts for each of them."""

    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What is there.

    Attributes:
        bytes: of the values.
        oldest, newest: seconds since the longest unused and the last used entry was used (to a day).
        leases: who computes something just now, and how many keys.
        stages, tenants: stage or tenant to what is kept of it. The name is empty where the writer gave none.
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
    """What cannot be trusted (an entry, a value, a file …) and why; which stage will compute it again, if known."""

    what: str
    why: str
    stage: str = ""
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """How many entries and values are good, and which are not: key, address or file to what was lost."""

    entries: int
    values: int
    lost: Mapping[str, LostEntry]


@dataclass(frozen=True, slots=True)
class EvictionReport:
    """What was let go; `stages`: how many entries of each stage."""

    entries: int
    values: int
    bytes: int
    stages: Mapping[str, int]


@runtime_checkable
class MaintainedStore(Protocol):
    """A store that can be looked after while others read and write it. Every method may raise StoreError."""

    def stats(self) -> StoreStats:
        """How much there is, and of what."""
        ...

    def verify(self, *, repair: bool = True) -> VerificationReport:
        """Check every entry and value; with `repair`, those that cannot be trusted are dropped."""
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
        """Let go of entries unused for `older_than` seconds, then of the longest unused ones beyond `max_bytes`.

        Of one `stage` or `tenant` only, where given: then sizes are of what belongs to it, and without a size or an
        age all of it goes. `dry`: only tell. Whoever asks for an evicted answer computes it again.
        """
        ...
