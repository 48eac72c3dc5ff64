"""The loop of the process that delivers the traces of a running app."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Mapping

from llmops_flows.core.trace import Exporter

from .delivery import Backoff, Delivery, deliver
from .trace_store import TraceStore


def follow(store: TraceStore, exporters: Mapping[str, Exporter]) -> int:
    """Deliver traces as they arrive until standard input ends; then the rest, within `Exporter.shutdown_timeout`.

    Every line of standard input announces more traces. The result of each delivery goes to standard output, one JSON
    object per line. Returns 0.
    """
    woken, ended = threading.Event(), threading.Event()
    timeout = max((exporter.shutdown_timeout for exporter in exporters.values()), default=0.0)
    threading.Thread(target=_read, args=(woken, ended, timeout), daemon=True).start()
    backoff = Backoff()
    for exporter in exporters.values():
        exporter.prepare()
    while True:
        last = ended.is_set()
        woken.clear()
        deliveries = deliver(store.outbox, exporters, until=time.monotonic() + timeout)
        for delivery in deliveries:
            if delivery.delivered or delivery.pending:
                _print(delivery)
        if last:
            return 0
        backoff.after(failed=any(delivery.error for delivery in deliveries))
        ended.wait(backoff.seconds)
        if not ended.is_set():
            woken.wait()


def _read(woken: threading.Event, ended: threading.Event, timeout: float) -> None:
    for _ in sys.stdin:
        woken.set()
    ended.set()
    woken.set()
    time.sleep(timeout + 5.0)
    os._exit(1)  # an exporter exceeds its own time limits


def _print(delivery: Delivery) -> None:
    error = delivery.error if delivery.pending else ""
    data = {"exporter": delivery.exporter, "delivered": delivery.delivered, "pending": delivery.pending, "error": error}
    try:
        print(json.dumps(data), flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # the app has ended
