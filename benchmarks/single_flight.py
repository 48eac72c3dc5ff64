"""Eight processes request the same 100 keys: the number of computations of each key, and the time."""

from __future__ import annotations

import multiprocessing
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from multiprocessing.synchronize import Barrier
from pathlib import Path
from unittest.mock import patch

from llmops_flows import Flow, Record, Runner
from llmops_flows.components.prompt.chat import ChatPrompt
from llmops_flows.components.store.postgres import Postgres
from llmops_flows.components.store.redis import Redis
from llmops_flows.components.store.sqlite import SQLite
from llmops_flows.stores.store_config import StoreConfig
from llmops_flows.testing.fakes import CountedModel, logged_calls
from tests.support.store_servers import POSTGRES, REDIS, PostgresServer, RedisServer

from .measure import print_result

RACERS, KEYS, PAUSE = 8, 100, 0.05
EACH_ONCE = Counter(f"question {n}" for n in range(KEYS))
spawn = multiprocessing.get_context("spawn")


def race(store: StoreConfig, log: Path, racer: int, gate: Barrier, report: Path) -> None:
    """Run all questions at once in a shuffled order, and write the seconds into `report`."""
    prompt = ChatPrompt(messages=[{"role": "user", "content": "{question}"}])
    flow = Flow(stages={"prompt": prompt, "model": CountedModel(log=log, pause=PAUSE)})
    records = [Record.of(str(n), {"question": f"question {n}"}) for n in range(KEYS)]
    random.Random(racer).shuffle(records)
    opened = store.open()
    with Runner(store=opened) as runner:
        gate.wait(120)
        start = time.perf_counter()
        answers = {record.answer for record in runner.run(flow, records)}
        report.write_text(str(time.perf_counter() - start))
    opened.close()
    assert answers == {f"said question {n}" for n in range(KEYS)}


@contextmanager
def stores() -> Iterator[dict[str, StoreConfig]]:
    """SQLite, and the servers whose programs and client libraries are installed."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        configs: dict[str, StoreConfig] = {"sqlite": SQLite(path=folder / "store.sqlite")}
        servers = [(REDIS, "redis", RedisServer, Redis), (POSTGRES, "psycopg", PostgresServer, Postgres)]
        for program, library, engine, config in servers:
            if program and find_spec(library):
                running = stack.enter_context(engine())
                stack.enter_context(patch.dict(os.environ, {engine.url_env: running.url}))
                configs[engine.name] = config(url_env=engine.url_env, key=folder / f"{engine.name}.key", timeout=30)
        yield configs


def measure(store: StoreConfig, racers: int) -> tuple[Counter[str], float]:
    """The number of model calls per question, and the seconds until the last process has all answers."""
    with tempfile.TemporaryDirectory() as folder:
        log, gate = Path(folder) / "calls", spawn.Barrier(racers)
        reports = [Path(folder) / f"report{n}" for n in range(racers)]
        processes = [spawn.Process(target=race, args=(store, log, n, gate, report)) for n, report in enumerate(reports)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(300)
        if any(process.exitcode for process in processes):
            raise RuntimeError("a process did not get its answers")
        return Counter(logged_calls(log)), max(float(report.read_text()) for report in reports)


def main() -> None:
    rows = []
    with stores() as configs:
        for name, store in configs.items():
            computed, seconds = measure(store, RACERS)
            if computed != EACH_ONCE:
                raise RuntimeError(f"{name}: computed more than once: {[key for key in computed if computed[key] > 1]}")
            rows.append(
                (f"{name}: keys computed, calls, wall", f"{len(computed)}, {computed.total()}, {seconds:.2f} s")
            )
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(SQLite(path=Path(folder) / "store.sqlite"), 1)[1]
    rows.append(("sqlite, one process alone: wall", f"{seconds:.2f} s"))
    print_result(
        f"{RACERS} processes request the same {KEYS} keys, {PAUSE * 1000:.0f} ms each", rows, goal="each computed once"
    )


if __name__ == "__main__":
    main()
