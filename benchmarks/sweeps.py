"""What the benchmarks of sweeps read from the folders that a sweep leaves behind."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from llmops_flows.tracing.trace_store import TraceStore


def last(folder: Path) -> Path:
    """The folder of the last sweep below a working folder."""
    return max((folder / "multirun").glob("*/*"), key=lambda path: path.stat().st_mtime_ns)


def computed(folder: Path) -> Counter[str]:
    """Stage to how many answers the last sweep computed, over all its points."""
    found: Counter[str] = Counter()
    for path in last(folder).glob("*/summary.json"):
        for stage, states in json.loads(path.read_text())["stages"].items():
            found[stage] += states.get("computed", 0)
    return found


def work(home: Path) -> float:
    """Seconds during which at least one stage was at work, of all that the trace store below `home` tells of."""
    store = TraceStore(home / "traces.sqlite")
    steps = [step for trace in store.before(None, 100_000) for step in trace["steps"] if step["state"] == "computed"]
    store.close()
    busy, end = 0.0, 0.0
    for begun, seconds in sorted((step["started"], step["seconds"]) for step in steps):
        busy += max(0.0, begun + seconds - max(begun, end))
        end = max(end, begun + seconds)
    return busy
