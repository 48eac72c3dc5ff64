"""Many processes write to one SQLite store at once: transactions per second, and lost rows."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

from llmops_flows.core.fingerprint import digest
from llmops_flows.core.store import Entry
from llmops_flows.stores.sqlite_store import SQLiteStore

from .measure import print_result

WRITERS, ROWS = 8, 2000


def write(path: Path, writer: int, gate: Barrier) -> None:
    store = SQLiteStore(path)
    gate.wait()
    for n in range(ROWS):
        text = b"%d.%d" % (writer, n)
        store.put({text.decode(): Entry(digest(text))}, {digest(text): text})
    store.close()


def main() -> None:
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path, gate = Path(folder) / "store.sqlite", spawn.Barrier(WRITERS + 1)
        processes = [spawn.Process(target=write, args=(path, n, gate)) for n in range(WRITERS)]
        for process in processes:
            process.start()
        gate.wait()
        start = time.perf_counter()
        for process in processes:
            process.join()
        seconds = time.perf_counter() - start
        store = SQLiteStore(path)
        stored = len(store.entries([f"{writer}.{n}" for writer in range(WRITERS) for n in range(ROWS)]))
        store.close()
    rows = [
        ("transactions per second", f"{WRITERS * ROWS / seconds:.0f}"),
        ("rows lost", str(WRITERS * ROWS - stored)),
    ]
    print_result(f"{WRITERS} processes x {ROWS} rows into one SQLite store", rows, goal="at least 1,000/s, none lost")


if __name__ == "__main__":
    main()
