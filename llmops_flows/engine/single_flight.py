"""Single flight: of all that need an answer, in any thread or process, one computes it and the others wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from llmops_flows.core.errors import BudgetExceeded, FlowError, StageError
from llmops_flows.core.fingerprint import decode, encode
from llmops_flows.core.lease_owner import is_dead
from llmops_flows.core.redaction import redact
from llmops_flows.core.store import Lease

from .answer_cache import LEASE, AnswerCache, KnownAnswer


class SingleFlight:
    """Single flight: of all who need a key, in any thread or process, one computes it and the others wait.

    `mine` are the keys to compute here, `waiting` those that somebody else computes.
    """

    def __init__(self, keeper: AnswerCache, keys: list[str], *, alone: bool) -> None:
        self._keeper = keeper
        self._store = None if alone else keeper.store
        self._owner = keeper.owner
        self.mine: list[str] = keys
        self.waiting: list[str] = []
        self._held: set[str] = set()
        self._found: list[tuple[str, KnownAnswer | FlowError]] = []
        self._failed: dict[str, FlowError] = {}
        self._pulse: asyncio.Task[None] | None = None

    @property
    def open(self) -> bool:
        """Whether any key still lacks an answer that was handed out."""
        return bool(self.mine or self.waiting or self._found)

    async def __aenter__(self) -> SingleFlight:
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

    async def others(self) -> list[tuple[str, KnownAnswer | FlowError]]:
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
        stale = [x for x in leases.values() if not x.granted and (new if x.error else is_dead(x.owner))]
        for lease in stale:
            store.release([lease.key], lease.owner)
        if stale:
            leases = {**leases, **self._lease([lease.key for lease in stale])}
        mine = [key for key in keys if key not in leases or leases[key].granted]
        self._held.update(mine)
        self.mine = self._claim(mine)
        self.waiting = []
        for key in keys:
            if key in leases and not leases[key].granted:
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


def _told(error: bytes) -> FlowError:
    facts = decode(error)
    return StageError(f"{facts['message']} (told by the process that tried it)")
