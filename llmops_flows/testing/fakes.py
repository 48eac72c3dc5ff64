"""Small real fakes: stores (one fails when told to), and a model that counts its calls over all processes."""

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
    """A store in front of another one; what is named in `failing` ("entries", "put" …) raises StoreError.

    `asked` counts what was asked for.
    """

    def __init__(self, store: Store, *failing: str) -> None:
        self.store = store
        self.failing = set(failing)
        self.asked: Counter[str] = Counter()

    def _ask(self, name: str) -> None:
        self.asked[name] += 1
        if name in self.failing:
            raise StoreError(f"no space left on device ({name})")

    def entries(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        self._ask("entries")
        return self.store.entries(keys)

    def values(self, addresses: Sequence[str]) -> Mapping[str, bytes]:
        self._ask("values")
        return self.store.values(addresses)

    def put(self, entries: Mapping[str, Entry], values: Mapping[str, bytes]) -> None:
        self._ask("put")
        self.store.put(entries, values)

    def lease(self, keys: Sequence[str], owner: str, *, seconds: float) -> Mapping[str, Lease]:
        self._ask("lease")
        return self.store.lease(keys, owner, seconds=seconds)

    def release(self, keys: Iterable[str], owner: str, *, error: bytes = b"") -> None:
        self._ask("release")
        self.store.release(keys, owner, error=error)

    def close(self) -> None:
        self.store.close()


class DictStore:
    """The least that a store can be: two dicts. Whoever asks for a lease has it."""

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
        """Nothing is held."""

    def close(self) -> None:
        """Nothing to release."""


class CountedModel(Model):
    """Says what it was asked, and writes one line for each call, from whatever process, into a file.

    Attributes:
        log: the file; `calls(log)` reads it. No part of the identity.
        pause: seconds that an answer takes.
        fails: raise BackendError instead of answering.
    """

    name: str = "counted"
    log: Annotated[Path | None, OPERATIONAL] = None
    pause: Annotated[float, OPERATIONAL] = 0.0
    fails: Annotated[bool, OPERATIONAL] = False

    def run(self, messages: list[Message], call: Call) -> Outcome:
        said = messages[-1]["content"]
        append_line(self.log, said)
        until = time.monotonic() + self.pause
        while time.monotonic() < until and not call.cancelled():
            time.sleep(0.005)
        if self.fails:
            raise BackendError("the service is out of luck", status=500)
        usage = Usage(input_tokens=len(said.split()), output_tokens=1, total_tokens=len(said.split()) + 1)
        return Outcome(f"said {said}", usage=usage, notes={"model": self.name, "finish_reason": "stop"})


def append_line(log: Path | None, text: str) -> None:
    """Append one line to a file, whole, however many processes do."""
    if log is not None:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, (" ".join(text.split()) + "\n").encode())
        finally:
            os.close(handle)


def logged_calls(log: Path) -> list[str]:
    """What was noted in a file, in order."""
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []
