"""Deliver stored traces to exporters: LangSmith, OpenTelemetry and others.

Delivers pending traces for the named exporters, by default for every one
that has something pending, for at most 10 minutes. The exit code is 1 when
traces are left. run=RUN (the id of a run, `last` or `all`) also delivers the
traces of runs that had no exporter configured.

Examples:
  llmops-flows ship
  llmops-flows ship langsmith run=last tracer.langsmith.project=trial
"""

from __future__ import annotations

import json
import sys
import time
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Mapping, Sequence

from llmops_flows.config.files.groups import options
from llmops_flows.config.storage import load_outbox, open_outbox
from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.trace import Exporter
from llmops_flows.text.suggestions import did_you_mean
from llmops_flows.tracing.delivery import deliver
from llmops_flows.tracing.delivery_loop import follow
from llmops_flows.tracing.trace_store import TraceStore

from ..argument_parser import add_overrides

_SECONDS = 600.0


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("exporters", nargs="*", default=(), metavar="EXPORTER", help="an option of the group tracer")
    add_overrides(parser)
    parser.add_argument("--follow", action="store_true", help=SUPPRESS)


def main(arguments: Namespace) -> int:
    if arguments.follow:
        store, exporters = open_outbox(json.loads(sys.stdin.readline()))
        return follow(store, exporters)
    words = [*arguments.exporters, *arguments.overrides]
    names = [word for word in words if "=" not in word]
    run = next((word.partition("=")[2] for word in words if word.startswith("run=")), None)
    store, exporters = _outbox(names, [word for word in words if "=" in word and not word.startswith("run=")])
    try:
        if run is not None:
            _request(store, exporters, run)
        if not exporters:
            print("no traces are pending")
        deliveries = deliver(store.outbox, exporters, until=time.monotonic() + _SECONDS)
    finally:
        store.close()
    for delivery in deliveries:
        print(delivery)
    return 1 if any(delivery.pending for delivery in deliveries) else 0


def _request(store: TraceStore, exporters: Mapping[str, Exporter], run: str) -> None:
    """Mark the traces of a run (`last`: of the last one, `all`: of every one) as pending."""
    if run == "last":
        last = store.last()
        run = last.run if last else "all"
    for name in exporters:
        store.outbox.enqueue(name, None if run == "all" else run)


def _outbox(names: Sequence[str], overrides: Sequence[str]) -> tuple[TraceStore, dict[str, Exporter]]:
    """The trace store, and the named exporters; without names, those that have something pending."""
    known = [name for name in options("tracer") if name not in ("local", "none")]
    for name in names:
        if name not in known:
            raise ConfigError(Problem(f"unknown exporter {name!r}", hint=did_you_mean(name, known)))
    flow = [] if any(word.startswith("flow=") for word in overrides) else ["name=ship"]
    if not names:
        store, _ = load_outbox(["tracer=[local]", *flow, *(w for w in overrides if not w.startswith("tracer."))])
        names = [name for name in store.outbox.pending_counts() if name in known]
        store.close()
    return load_outbox([f"tracer=[{','.join(['local', *names])}]", *flow, *overrides])
