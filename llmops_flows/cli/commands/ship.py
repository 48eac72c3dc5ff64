"""`ship [EXPORTER ...]`: deliver the traces that wait in the local store to LangSmith, OpenTelemetry or others."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.text.suggestions import did_you_mean

if TYPE_CHECKING:
    from llmops_flows.core.trace import Exporter
    from llmops_flows.tracing.delivery import Delivery
    from llmops_flows.tracing.trace_store import TraceStore

_SECONDS = 600.0
"""The longest that the verb works."""


def main(arguments: Sequence[str]) -> int:
    """Deliver what is pending, by name or for all that have something pending. Returns 0, or 1 when some still wait.

    `run=ID`, `run=last` or `run=all` also delivers traces of runs for which no exporter was configured. Further
    overrides set up an exporter (`tracer.langsmith.project=trial`).
    """
    if list(arguments) == ["--follow"]:
        return follow()
    named = [word for word in arguments if "=" not in word]
    run = next((word.partition("=")[2] for word in arguments if word.startswith("run=")), None)
    store, exporters = _configured(named, [w for w in arguments if "=" in w and not w.startswith("run=")])
    from llmops_flows.tracing.delivery import deliver

    try:
        if run is not None:
            _want(store, exporters, run)
        if not exporters:
            print("nothing waits to be delivered")
        done = deliver(store.outbox, exporters, until=time.monotonic() + _SECONDS)
    finally:
        store.close()
    for one in done:
        print(one)
    return 1 if any(one.pending for one in done) else 0


def _want(store: TraceStore, exporters: Mapping[str, Exporter], run: str) -> None:
    if run == "last":
        last = store.last()
        run = last.run if last else "all"
    for name in exporters:
        store.outbox.enqueue(name, None if run == "all" else run)


def _configured(named: Sequence[str], overrides: Sequence[str]) -> tuple[TraceStore, dict[str, Exporter]]:
    """The outbox, and the exporters that were named; all that have something pending when none was."""
    from llmops_flows.config.files.groups import options
    from llmops_flows.config.storage import load_outbox

    known = [name for name in options("tracer") if name not in ("local", "none")]
    for name in named:
        if name not in known:
            raise ConfigError(Problem(f"there is no exporter {name!r}", hint=did_you_mean(name, known)))
    flow = [] if any(word.startswith("flow=") for word in overrides) else ["name=ship"]
    if not named:
        store, _ = load_outbox(["tracer=[local]", *flow, *(w for w in overrides if not w.startswith("tracer."))])
        named = [name for name in store.outbox.pending_counts() if name in known]
        store.close()
    return load_outbox([f"tracer=[{','.join(['local', *named])}]", *flow, *overrides])


# -- beside a running app --------------------------------------------------------------------------------------------


def follow() -> int:
    """Deliver traces as they come, until standard input ends; then what is left, within the exporters' patience.

    The first line of standard input is the config, every further one means that there is more. What was delivered
    goes to standard output, a JSON object for each attempt.
    """
    from llmops_flows.config.storage import open_outbox
    from llmops_flows.tracing.delivery import Backoff, deliver

    store, exporters = open_outbox(json.loads(sys.stdin.readline()))
    woken, ended = threading.Event(), threading.Event()
    patience = max((exporter.shutdown_timeout for exporter in exporters.values()), default=0.0)
    threading.Thread(target=_read, args=(woken, ended, patience), daemon=True).start()
    backoff = Backoff()
    for exporter in exporters.values():
        exporter.prepare()
    while True:
        last = ended.is_set()
        woken.clear()
        done = deliver(store.outbox, exporters, until=time.monotonic() + patience)
        for one in done:
            if one.delivered or one.pending:
                _tell(one)
        if last:
            return 0
        backoff.after(failed=any(one.error for one in done))
        ended.wait(backoff.seconds)
        if not ended.is_set():
            woken.wait()


def _read(woken: threading.Event, ended: threading.Event, patience: float) -> None:
    for _ in sys.stdin:
        woken.set()
    ended.set()
    woken.set()
    time.sleep(patience + 5.0)
    os._exit(1)  # an exporter hangs beyond its own time limits


def _tell(one: Delivery) -> None:
    said: dict[str, Any] = {"exporter": one.exporter, "delivered": one.delivered, "pending": one.pending}
    try:
        print(json.dumps({**said, "error": one.error if one.pending else ""}), flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # whoever listened is gone
