"""Processes that need the same keys at once compute each of them once, in every store."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.single_flight import EACH_ONCE, RACERS, measure, stores
from llmops_flows.components.store.sqlite import SQLite


def test_processes_that_race_for_a_hundred_keys_compute_each_once(tmp_path: Path) -> None:
    made, _ = measure(SQLite(path=tmp_path / "store.sqlite"), 3)
    assert made == EACH_ONCE


@pytest.mark.slow
def test_eight_processes_compute_each_once_in_every_store() -> None:
    with stores() as configs:
        for name, store in configs.items():
            made, _ = measure(store, RACERS)
            assert made == EACH_ONCE, name
