"""Count what is stored: answers by stage and tenant, indexes, traces.

Overrides choose the store and the home folder; no flow is needed.

Examples:
  llmops-flows store stats
  llmops-flows store stats store=redis store.namespace=team --json
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from typing import Any

from llmops_flows.artifacts.inventory import list_artifacts
from llmops_flows.config.composition.quoting import quote_overrides
from llmops_flows.config.storage import Storage, load_storage, maintain
from llmops_flows.core.store import StoreStats
from llmops_flows.report.text import store_text
from llmops_flows.tracing import verification

from ...argument_parser import add_json, add_overrides


def add_arguments(parser: ArgumentParser) -> None:
    add_overrides(parser)
    add_json(parser)


def main(arguments: Namespace) -> int:
    storage = load_storage(quote_overrides(arguments.overrides))
    stats = maintain(storage, lambda store: store.stats()) or StoreStats(0, 0, 0, 0.0, 0.0, {}, {}, {})
    indexes = list_artifacts(storage.home)
    traces = _traces(storage)
    if arguments.json:
        kinds = {kind: sum(index.kind == kind for index in indexes) for kind in sorted({i.kind for i in indexes})}
        counts = {"count": kinds, "bytes": sum(index.bytes for index in indexes)}
        data = {"store": storage.store.location, "home": str(storage.home), **asdict(stats), "indexes": counts}
        print(json.dumps({**data, "traces": traces}, indent=2, ensure_ascii=False))
    else:
        print(store_text.format_stats(storage.store.location, str(storage.home), stats, indexes, traces))
    return 0


def _traces(storage: Storage) -> dict[str, Any] | None:
    if storage.traces is None or not storage.traces.path.exists():
        return None
    path = storage.traces.path
    traces, runs = verification.trace_counts(path)
    return {"path": str(path), "traces": traces, "runs": runs, "bytes": path.stat().st_size}
