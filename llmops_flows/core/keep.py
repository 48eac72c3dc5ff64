"""What is known, and who computes what is not: the runner's dealings with the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .cache import Cache
from .errors import BudgetExceeded, FlowError, StageError
from .fingerprint import decode, digest, encode
from .owners import dead, new_owner
from .record import Slot, Usage
from .secrets import has_secret, redact
from .stage import Outcome
from .store import Entry, Lease, Store
from .unfailing import Unfailing

LEASE = 30.0
"""Seconds after which the work of a process that died is taken over (at once, if it died on this machine)."""


@dataclass(frozen=True, slots=True)
class Known:
    """An answer by its address, with what was said about it when it was computed. `seconds`: what that took."""

    address: str
    data: bytes | None = None
    usage: Usage = field(default_factory=Usage)
    verdict: Mapping[str, Any] | None = None
    ends: bool = False
    retry: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def slot(self, stage: str) -> Slot:
        return Slot(self.address, data=self.data, stage=stage)


class Keeper:
    """Looks answers up and keeps new ones. Trouble of the store is told once, and costs no answer."""

    def __init__(
        self, store: Store | None, cache: Cache, warn: Callable[[str, str], None], *, tenant: str = ""
    ) -> None:
        self.store = store if store is None or isinstance(store, Unfailing) else Unfailing(store, warn)
        self.reads = not cache.refresh
        self._warn = warn
        self._tenant = tenant
        self._owner = new_owner()
        self._late: tuple[dict[str, Entry], dict[str, bytes]] = ({}, {})
        self._written = time.monotonic()

    def look_up(self, keys: Sequence[str]) -> dict[str, Known]:
        """The known ones of the keys, by address only."""
        if self.store is None or not self.reads:
            return {}
        late = {key: self._late[0][key] for key in keys if key in self._late[0]}
        entries = {**self.store.entries([key for key in keys if key not in late]), **late}
        return {key: _known(entry) for key, entry in entries.items()}

    def values(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        """The bytes of the known ones of the addresses."""
        late = {a: self._late[1][a] for a in addresses if a in self._late[1]}
        rest = [a for a in addresses if a not in late]
        return {**self.store.values(rest), **late} if rest and self.store is not None else late

    def keep(
        self, key: str, outcome: Outcome, seconds: float, kept: bool, *, put_off: bool, stage: str = ""
    ) -> Known:
        """An outcome as what is known from now on; written down unless it must not be answered again.

        An answer that holds a secret is not written down either: that costs its computation in every run, and is
        told once for each `stage`.

        Raises:
            TypeError, ValueError: the value is not plain data.
        """
        data = encode(outcome.value)
        said = (outcome.usage, outcome.verdict, outcome.ends, outcome.retry, outcome.notes)
        known = Known(digest(data), data, *said, seconds)
        if kept and outcome.keep and self.store is not None:
            meta = _meta(outcome, seconds, {"stage": stage, "tenant": self._tenant})
            if has_secret(data) or has_secret(meta):
                self._warn(f"secret {stage}", _SECRET.format(f" of {stage!r}" if stage else ""))
            else:
                self._late[0][key] = Entry(known.address, meta)
                self._late[1][known.address] = data
                if not put_off or time.monotonic() > self._written + _PUT_OFF:
                    self.write()
        return known

    def write(self) -> None:
        """Write down what was put off."""
        self._written = time.monotonic()
        entries, values = self._late
        if entries and self.store is not None:
            self._late = ({}, {})
            self.store.put(entries, values)

    def close(self) -> None:
        """Write down everything, also what the store could not take before."""
        self.write()
        if self.store is not None:
            self.store.flush()

    def flight(self, keys: Sequence[str], *, alone: bool) -> Flight:
        """The right to compute keys, shared with whoever else wants them now."""
        return Flight(self, list(keys), None if alone else self.store, self._owner)


_PUT_OFF = 1.0
"""Seconds after which also answers that come in numbers are written down."""
_SECRET = "an answer{} holds something that looks like a secret: it is not kept, and computed anew in every run"


class Flight:
    """Single flight: of all who need a key, in any thread or process, one computes it and the others wait.

    `mine` are the keys to compute here, `waiting` those that somebody else computes.
    """

    def __init__(self, keeper: Keeper, keys: list[str], store: Store | None, owner: str) -> None:
        self._keeper = keeper
        self._store = store
        self._owner = owner
        self.mine: list[str] = keys
        self.waiting: list[str] = []
        self._held: set[str] = set()
        self._found: list[tuple[str, Known | FlowError]] = []
        self._failed: dict[str, FlowError] = {}
        self._pulse: asyncio.Task[None] | None = None

    @property
    def open(self) -> bool:
        """Whether any key still lacks an answer that was handed out."""
        return bool(self.mine or self.waiting or self._found)

    async def __aenter__(self) -> Flight:
        if self._store is not None:
            keys, self.mine = self.mine, []
            self._take(keys, new=True)
            self._pulse = asyncio.ensure_future(self._renew())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._store is None:
            return
        if self._pulse is not None:
            self._pulse.cancel()
        self._keeper.write()
        self._release()

    def landed(self, key: str, error: FlowError | None) -> None:
        """A key of ours was computed, or failed."""
        if error is not None:
            self._failed[key] = error

    async def others(self) -> list[tuple[str, Known | FlowError]]:
        """What others have computed meanwhile; sleeps a little while there is nothing. Ends our own turn."""
        self.mine = []
        pause = 0.002
        while self.waiting and not self._found and not self.mine:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.1)
            self._take(self.waiting, new=False)
        found, self._found = self._found, []
        return found

    def _take(self, keys: list[str], *, new: bool) -> None:
        """Sort keys into known, ours, and waited for."""
        store = self._store
        assert store is not None
        if not new:
            keys = self._claim(keys)
        leases = self._lease(keys)
        # An error of an earlier attempt is no news to who asks only now; of the dead nothing is to be expected.
        stale = [x for x in leases.values() if not x.mine and (new if x.error else dead(x.owner))]
        for lease in stale:
            store.release([lease.key], lease.owner)
        if stale:
            leases = {**leases, **self._lease([lease.key for lease in stale])}
        mine = [key for key in keys if key not in leases or leases[key].mine]
        self._held.update(mine)
        self.mine = self._claim(mine)
        self.waiting = []
        for key in keys:
            if key in leases and not leases[key].mine:
                if leases[key].error:
                    self._found.append((key, _told(leases[key].error)))
                else:
                    self.waiting.append(key)

    def _claim(self, keys: list[str]) -> list[str]:
        """Those of the keys that nobody has computed yet; the others are found."""
        known = self._keeper.look_up(keys)
        self._found += list(known.items())
        return [key for key in keys if key not in known]

    def _lease(self, keys: Sequence[str]) -> Mapping[str, Lease]:
        return self._store.lease(keys, self._owner, seconds=LEASE) if self._store is not None else {}

    def _give_back(self, keys: Sequence[str], error: bytes = b"") -> None:
        if self._store is not None:
            self._store.release(keys, self._owner, error=error)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE / 3)
            held = sorted(self._held)
            self._lease(held)

    def _release(self) -> None:
        failed = {key: error for key, error in self._failed.items() if not isinstance(error, BudgetExceeded)}
        good = sorted(self._held - failed.keys())
        if good:
            self._give_back(good)  # what our budget did not allow, another's may
        for key, error in failed.items():
            told = encode({"error": type(error).__name__, "message": redact(str(error)), "at": time.time()})
            self._give_back([key], told)


def _meta(outcome: Outcome, seconds: float, whose: Mapping[str, str]) -> bytes:
    facts: dict[str, Any] = {"seconds": round(seconds, 6), **{k: name for k, name in whose.items() if name}}
    for name in ("usage", "verdict", "ends", "retry", "notes"):
        value = getattr(outcome, name)
        if value:
            facts[name] = value
    return encode(facts)


def _known(entry: Entry) -> Known:
    facts = decode(entry.meta)
    return Known(
        entry.address,
        None,
        facts.get("usage", {}),
        facts.get("verdict"),
        facts.get("ends", False),
        facts.get("retry", ""),
        facts.get("notes", {}),
        facts.get("seconds", 0.0),
    )


def _told(error: bytes) -> FlowError:
    facts = decode(error)
    return StageError(f"{facts['message']} (told by the process that tried it)")
