"""The answer cache: looks stage answers up by key, and stores new ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmops_flows.core.cache_policy import CachePolicy
from llmops_flows.core.fingerprint import decode, digest, encode
from llmops_flows.core.lease_owner import new_owner
from llmops_flows.core.record import Slot, Usage
from llmops_flows.core.redaction import has_secret
from llmops_flows.core.stage import Outcome
from llmops_flows.core.store import Entry, Store

from .resilient_store import ResilientStore

LEASE = 30.0
"""Seconds after which the lease of a process that died on another machine expires."""
_MAX_DELAY = 1.0
"""Maximum seconds for which deferred answers are collected before they are written in one transaction."""
_SECRET = "an answer{} seems to contain a secret: it is not stored, and computed again in every run"
_FACTS = ("usage", "verdict", "ends", "retry", "notes")


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """The address of an answer, with facts about its computation. `seconds`: the time that it took."""

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


class AnswerCache:
    """Looks answers up and stores new ones. An error of the store is logged once, and does not affect answers."""

    def __init__(
        self, store: Store | None, cache: CachePolicy, warn: Callable[[str, str], None], *, tenant: str = ""
    ) -> None:
        self.store = store if store is None or isinstance(store, ResilientStore) else ResilientStore(store, warn)
        self.reads = not cache.refresh
        self.owner = new_owner()
        self._warn = warn
        self._tenant = tenant
        self._entries: dict[str, Entry] = {}
        self._values: dict[str, bytes] = {}
        self._flushed = time.monotonic()

    def look_up(self, keys: Sequence[str]) -> dict[str, KnownAnswer]:
        """Known key to answer. The answers have their address but no data."""
        if self.store is None or not self.reads:
            return {}
        deferred = {key: self._entries[key] for key in keys if key in self._entries}
        entries = {**self.store.entries([key for key in keys if key not in deferred]), **deferred}
        return {key: _known(entry) for key, entry in entries.items()}

    def values(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        """Known address to bytes."""
        deferred = {a: self._values[a] for a in addresses if a in self._values}
        others = [a for a in addresses if a not in deferred]
        return {**self.store.values(others), **deferred} if others and self.store is not None else deferred

    def add(
        self, key: str, outcome: Outcome, seconds: float, *, cacheable: bool, deferred: bool = False, stage: str = ""
    ) -> KnownAnswer:
        """Store an outcome if it is cacheable and contains no secret. Returns the answer in any case.

        Args:
            deferred: store it later, in one transaction with others.
            stage: the name of the stage, for the facts of the entry and for warnings.

        Raises:
            TypeError, ValueError: the value is not plain data.
        """
        data = encode(outcome.value)
        facts: dict[str, Any] = {name: getattr(outcome, name) for name in _FACTS}
        answer = KnownAnswer(digest(data), data, **facts, seconds=seconds)
        if cacheable and outcome.cacheable and self.store is not None:
            meta = _meta(outcome, seconds, {"stage": stage, "tenant": self._tenant})
            if has_secret(data) or has_secret(meta):
                self._warn(f"secret {stage}", _SECRET.format(f" of {stage!r}" if stage else ""))
            else:
                self._entries[key] = Entry(answer.address, meta)
                self._values[answer.address] = data
                if not deferred or time.monotonic() > self._flushed + _MAX_DELAY:
                    self.flush()
        return answer

    def flush(self) -> None:
        """Write deferred answers to the store."""
        self._flushed = time.monotonic()
        if self._entries and self.store is not None:
            entries, self._entries = self._entries, {}
            values, self._values = self._values, {}
            self.store.put(entries, values)

    def close(self) -> None:
        """Write all deferred answers, including those of failed writes."""
        self.flush()
        if self.store is not None:
            self.store.flush()


def _meta(outcome: Outcome, seconds: float, origin: Mapping[str, str]) -> bytes:
    facts: dict[str, Any] = {"seconds": round(seconds, 6), **{name: value for name, value in origin.items() if value}}
    for name in _FACTS:
        if value := getattr(outcome, name):
            facts[name] = value
    return encode(facts)


def _known(entry: Entry) -> KnownAnswer:
    facts = decode(entry.meta)
    known = {name: facts[name] for name in (*_FACTS, "seconds") if name in facts}
    return KnownAnswer(entry.address, None, **known)
