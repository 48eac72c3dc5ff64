"""A program that runs a flow until Ctrl-C, and prints how many seconds later the run ended."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Any

from llmops_flows import Runner
from llmops_flows.calls.gate import Gate
from llmops_flows.core.limits import Limits
from llmops_flows.stores.sqlite_store import SQLiteStore
from tests.support.http_models import Blocking, Chat, chat
from tests.support.stub_stages import question_records

PHASES: dict[str, dict[str, Any]] = {
    "rate": {"limits": Limits(requests_per_minute=6)},
    "place": {"limits": Limits(parallel=1)},
    "backoff": {},
    "retry-after": {},
    "request": {},
    "thread": {},
    "stream": {"streams": True},
}


def flow(phase: str, url: str) -> Any:
    """A flow whose call hangs in this phase."""
    kind = Blocking if phase == "thread" else Chat
    return chat(kind(url=url, **PHASES[phase]))


def main(phase: str, url: str, folder: str) -> None:
    interrupted: list[float] = []

    def handler(number: int, frame: Any) -> None:
        interrupted.append(time.monotonic())
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handler)
    store = SQLiteStore(Path(folder) / "answers.sqlite")
    with Runner(store=store, gate=Gate(chance=lambda: 1.0)) as runner:
        try:
            if phase == "stream":
                from llmops_flows.integrations.langchain.runnable import FlowRunnable

                for _ in FlowRunnable(flow(phase, url), runner).stream("a"):
                    pass
            else:
                runner.run(flow(phase, url), question_records("a", "b"))
        except KeyboardInterrupt:
            print(time.monotonic() - interrupted[0])
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
