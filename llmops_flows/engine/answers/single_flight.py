"""Single flight: if several records, threads or processes need an answer, only one of them computes it."""

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

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.1


class SingleFlight:
    """Leases the keys of answers. An async context manager.

    Args:
        cache: where answers are looked up; its store holds the leases.
        keys: the keys of the answers.
        shared: whether to use leases. Without leases, every key is computed here.

    Attributes:
        leased: the keys to compute here.
        awaited: the keys that other callers compute.
    """

    def __init__(self, cache: AnswerCache, keys: list[str], *, shared: bool) -> None:
        self.leased: list[str] = keys
        self.awaited: list[str] = []
        self._cache = cache
        self._store = cache.store if shared else None
        self._owner = cache.owner
        self._held: set[str] = set()
        self._results: list[tuple[str, KnownAnswer | FlowError]] = []
        self._failed: dict[str, FlowError] = {}
        self._renewal: asyncio.Task[None] | None = None

    @property
    def pending(self) -> bool:
        """Whether a key has no result yet."""
        return bool(self.leased or self.awaited or self._results)

    async def __aenter__(self) -> SingleFlight:
        if self._store is not None:
            keys, self.leased = self.leased, []
            self._acquire(keys, new=True)
            self._renewal = asyncio.ensure_future(self._renew())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._store is None:
            return
        if self._renewal is not None:
            self._renewal.cancel()
        self._cache.flush()
        self._release()

    def fail(self, key: str, error: FlowError) -> None:
        """Record that the computation of a leased key failed. Callers that wait for the key receive the error."""
        self._failed[key] = error

    async def results_of_others(self) -> list[tuple[str, KnownAnswer | FlowError]]:
        """The results that other callers have computed. Waits for a result, or for a key to take over (`leased`)."""
        self.leased = []
        pause = _FIRST_PAUSE
        while self.awaited and not self._results and not self.leased:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            self._acquire(self.awaited, new=False)
        results, self._results = self._results, []
        return results

    def _acquire(self, keys: list[str], *, new: bool) -> None:
        """Sort keys into known, leased and awaited ones."""
        assert self._store is not None
        if not new:
            keys = self._unknown(keys)
        leases = self._lease(keys)
        # A new caller retries after the error of an earlier one, and takes over the keys of a dead process.
        stale = [x for x in leases.values() if not x.granted and (new if x.error else is_dead(x.owner))]
        for lease in stale:
            self._store.release([lease.key], lease.owner)
        if stale:
            leases = {**leases, **self._lease([lease.key for lease in stale])}
        granted = [key for key in keys if key not in leases or leases[key].granted]
        self._held.update(granted)
        self.leased = self._unknown(granted)
        self.awaited = []
        for key in keys:
            if key in leases and not leases[key].granted:
                if leases[key].error:
                    self._results.append((key, _decoded_error(leases[key].error)))
                else:
                    self.awaited.append(key)

    def _unknown(self, keys: list[str]) -> list[str]:
        """The keys without an answer. Known answers are added to the results."""
        known = self._cache.look_up(keys)
        self._results += known.items()
        return [key for key in keys if key not in known]

    def _lease(self, keys: Sequence[str]) -> Mapping[str, Lease]:
        assert self._store is not None
        return self._store.lease(keys, self._owner, seconds=LEASE)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE / 3)
            self._lease(sorted(self._held))

    def _release(self) -> None:
        assert self._store is not None
        # Another caller may have a larger budget.
        failed = {key: error for key, error in self._failed.items() if not isinstance(error, BudgetExceeded)}
        others = sorted(self._held - failed.keys())
        if others:
            self._store.release(others, self._owner)
        for key, error in failed.items():
            data = encode({"error": type(error).__name__, "message": redact(str(error)), "at": time.time()})
            self._store.release([key], self._owner, error=data)


def _decoded_error(data: bytes) -> FlowError:
    return StageError(f"{decode(data)['message']} (reported by the process that computed it)")
