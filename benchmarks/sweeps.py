"""Figures of a finished sweep, read from its output folders and from the trace store."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from llmops_flows.tracing.trace_store import TraceStore


def last(folder: Path) -> Path:
    """The output folder of the last sweep in a working folder."""
    return max((folder / "multirun").glob("*/*"), key=lambda path: path.stat().st_mtime_ns)


def computed(folder: Path) -> Counter[str]:
    """Stage to the number of answers that the last sweep computed, over all points."""
    counts: Counter[str] = Counter()
    for path in last(folder).glob("*/summary.json"):
        for stage, states in json.loads(path.read_text())["stages"].items():
            counts[stage] += states.get("computed", 0)
    return counts


def work(home: Path) -> float:
    """Seconds during which at least one stage computed, over all traces in the store below `home`."""
    store = TraceStore(home / "traces.sqlite")
    steps = [step for trace in store.before(None, 100_000) for step in trace["steps"] if step["state"] == "computed"]
    store.close()
    busy, end = 0.0, 0.0
    for start, seconds in sorted((step["started"], step["seconds"]) for step in steps):
        busy += max(0.0, start + seconds - max(start, end))
        end = max(end, start + seconds)
    return busy
