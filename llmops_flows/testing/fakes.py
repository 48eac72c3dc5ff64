"""Small real fakes: a store that fails on request, a minimal store, and a model that logs its calls."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from llmops_flows.core.errors import BackendError, StoreError
from llmops_flows.core.record import Message, Usage
from llmops_flows.core.roles import Model
from llmops_flows.core.stage import OPERATIONAL, Call, Outcome
from llmops_flows.core.store import Entry, Lease, Store


class FailingStore:
    """A store in front of another one. The methods in `failing` ("entries", "put" …) raise StoreError.

    `calls` counts the calls by name.
    """

    def __init__(self, store: Store, *failing: str) -> None:
        self.store = store
        self.failing = set(failing)
        self.calls: Counter[str] = Counter()

    def _call(self, name: str) -> None:
        self.calls[name] += 1
        if name in self.failing:
            raise StoreError(f"no space left on device ({name})")

    def entries(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        self._call("entries")
        return self.store.entries(keys)

    def values(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        self._call("values")
        return self.store.values(addresses)

    def put(self, entries: Mapping[str, Entry], values: Mapping[str, bytes]) -> None:
        self._call("put")
        self.store.put(entries, values)

    def lease(self, keys: Sequence[str], owner: str, *, seconds: float) -> Mapping[str, Lease]:
        self._call("lease")
        return self.store.lease(keys, owner, seconds=seconds)

    def release(self, keys: Iterable[str], owner: str, *, error: bytes = b"") -> None:
        self._call("release")
        self.store.release(keys, owner, error=error)

    def close(self) -> None:
        self.store.close()


class DictStore:
    """A minimal store: two dicts, and every lease is granted."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._values: dict[str, bytes] = {}

    def entries(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        return {key: self._entries[key] for key in keys if key in self._entries}

    def values(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        return {address: self._values[address] for address in addresses if address in self._values}

    def put(self, entries: Mapping[str, Entry], values: Mapping[str, bytes]) -> None:
        self._entries.update(entries)
        self._values.update(values)

    def lease(self, keys: Sequence[str], owner: str, *, seconds: float) -> Mapping[str, Lease]:
        return {key: Lease(key, owner, True) for key in keys}

    def release(self, keys: Iterable[str], owner: str, *, error: bytes = b"") -> None:
        """Leases are not stored."""

    def close(self) -> None:
        """Nothing to release."""


class CountedModel(Model):
    """Repeats the last message, and appends one line per call to a file, from any process.

    Attributes:
        log: the file, which `logged_calls(log)` reads. It is not part of the identity.
        pause: seconds per answer.
        fails: raise BackendError instead of answering.
    """

    name: str = "counted"
    log: Annotated[Path | None, OPERATIONAL] = None
    pause: Annotated[float, OPERATIONAL] = 0.0
    fails: Annotated[bool, OPERATIONAL] = False

    def run(self, messages: list[Message], call: Call) -> Outcome:
        text = messages[-1]["content"]
        append_line(self.log, text)
        until = time.monotonic() + self.pause
        while time.monotonic() < until and not call.cancelled():
            time.sleep(0.005)
        if self.fails:
            raise BackendError("the service is out of luck", status=500)
        usage = Usage(input_tokens=len(text.split()), output_tokens=1, total_tokens=len(text.split()) + 1)
        return Outcome(f"said {text}", usage=usage, notes={"model": self.name, "finish_reason": "stop"})


def append_line(log: Path | None, text: str) -> None:
    """Append one line to a file in one write, so that lines of several processes do not mix."""
    if log is not None:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, (" ".join(text.split()) + "\n").encode())
        finally:
            os.close(handle)


def logged_calls(log: Path) -> list[str]:
    """The lines of a log, in order."""
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []
