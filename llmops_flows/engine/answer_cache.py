"""What is known, and who computes what is not: the runner's dealings with the store."""

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
"""Seconds after which the work of a process that died is taken over (at once, if it died on this machine)."""


@dataclass(frozen=True, slots=True)
class KnownAnswer:
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


class AnswerCache:
    """Looks answers up and keeps new ones. Trouble of the store is told once, and costs no answer."""

    def __init__(
        self, store: Store | None, cache: CachePolicy, warn: Callable[[str, str], None], *, tenant: str = ""
    ) -> None:
        self.store = store if store is None or isinstance(store, ResilientStore) else ResilientStore(store, warn)
        self.reads = not cache.refresh
        self._warn = warn
        self._tenant = tenant
        self.owner = new_owner()
        self._late: tuple[dict[str, Entry], dict[str, bytes]] = ({}, {})
        self._written = time.monotonic()

    def look_up(self, keys: Sequence[str]) -> dict[str, KnownAnswer]:
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
    ) -> KnownAnswer:
        """An outcome as what is known from now on; written down unless it must not be answered again.

        An answer that holds a secret is not written down either: that costs its computation in every run, and is
        told once for each `stage`.

        Raises:
            TypeError, ValueError: the value is not plain data.
        """
        data = encode(outcome.value)
        said = (outcome.usage, outcome.verdict, outcome.ends, outcome.retry, outcome.notes)
        known = KnownAnswer(digest(data), data, *said, seconds)
        if kept and outcome.cacheable and self.store is not None:
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


_PUT_OFF = 1.0
"""Seconds after which also answers that come in numbers are written down."""
_SECRET = "an answer{} holds something that looks like a secret: it is not kept, and computed anew in every run"


def _meta(outcome: Outcome, seconds: float, whose: Mapping[str, str]) -> bytes:
    facts: dict[str, Any] = {"seconds": round(seconds, 6), **{k: name for k, name in whose.items() if name}}
    for name in ("usage", "verdict", "ends", "retry", "notes"):
        value = getattr(outcome, name)
        if value:
            facts[name] = value
    return encode(facts)


def _known(entry: Entry) -> KnownAnswer:
    facts = decode(entry.meta)
    return KnownAnswer(
        entry.address,
        None,
        facts.get("usage", {}),
        facts.get("verdict"),
        facts.get("ends", False),
        facts.get("retry", ""),
        facts.get("notes", {}),
        facts.get("seconds", 0.0),
    )
