"""A sweep computes what its plan says, stage by stage, and accounts for every result that it does not compute."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from llmops_flows.engine.plan import PlanCheck
from llmops_flows.sweeps.grid.points import expand_points
from llmops_flows.sweeps.grid.sweep_settings import SweepSettings
from llmops_flows.sweeps.planning import plan_stages
from llmops_flows.sweeps.sweep import execute_points

AXES = {
    "model": ["extractive", "echo"],
    "retriever": ["bm25"],
    "retriever.k": ["1", "2", "4", "6"],
    "prompt": ["rag_support/v1", "rag_support/v2", "rag_support/v3"],
    "reranker": ["none", "sentences"],
    "guardrail": ["none", "basic"],
    "cache": ["exact", "normalized"],
    "samples": ["1", "2"],
    "questions.seed": ["0", "1"],
}


def random_sweep(rng: random.Random) -> list[str]:
    """A sweep over some of the axes and some of their values."""
    axes = []
    for key, values in AXES.items():
        some = rng.sample(values, rng.randint(1, min(2, len(values))))
        if key in ("model", "retriever") or rng.random() < 0.7:
            axes.append(f"{key}={','.join(some)}")
    return ["flow=rag_support", f"questions.limit={rng.randint(2, 4)}", *axes]


@pytest.mark.parametrize("seed", [0, 1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 10))])
def test_every_planned_result_is_computed_or_accounted_for(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMOPS_FLOWS_HOME", str(tmp_path / "home"))
    rng = random.Random(seed)
    for out in (tmp_path / "first", tmp_path / "second"):  # the second sweep reuses some answers of the first
        points = expand_points(random_sweep(rng))
        distinct = [point for point in points if point.same_as is None]
        planned = {name: len(count.new) for name, count in plan_stages(distinct).items() if count.new}
        check = PlanCheck()
        outcomes = list(execute_points(points, out, SweepSettings(), check=check))
        assert not any(outcome.failed for outcome in outcomes)
        stages = check.stages
        assert {name: outcome.planned for name, outcome in stages.items()} == planned
        for name, outcome in stages.items():
            assert outcome.computed == computed(out, name)
            assert outcome.planned == outcome.computed + outcome.equal + outcome.known + outcome.unreached
        again = PlanCheck()
        assert not any(outcome.failed for outcome in execute_points(points, out, SweepSettings(), check=again))
        assert again.stages == {}


@pytest.mark.parametrize(
    ("settings", "axes"),
    [
        (SweepSettings(), ["cache=none,exact,normalized", "samples=1,2"]),
        (SweepSettings(), ["store=memory", "cache=exact,normalized"]),
        (SweepSettings(), ["cache.refresh=true", "cache=exact,normalized"]),
        (SweepSettings(fail_fast=True), ["cache=none", "prompt=rag_support/v1,rag_support/v2"]),
    ],
)
def test_results_that_are_not_stored_are_planned_in_each_place_that_computes_them(
    settings: SweepSettings, axes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMOPS_FLOWS_HOME", str(tmp_path / "home"))
    points = expand_points(["flow=rag_support", "model=extractive", "retriever=bm25", "questions.limit=3", *axes])
    distinct = [point for point in points if point.same_as is None]
    planned = {
        name: len(count.new) for name, count in plan_stages(distinct, isolated=settings.isolated).items() if count.new
    }
    check = PlanCheck()
    assert not any(outcome.failed for outcome in execute_points(points, tmp_path / "out", settings, check=check))
    stages = check.stages
    assert {name: outcome.planned for name, outcome in stages.items()} == planned
    for name, outcome in stages.items():
        assert outcome.computed == computed(tmp_path / "out", name)
        assert outcome.planned == outcome.computed + outcome.equal + outcome.known + outcome.unreached


def computed(folder: Path, stage: str) -> int:
    summaries = [json.loads(path.read_text()) for path in folder.glob("*/summary.json")]
    return sum(summary["stages"].get(stage, {}).get("computed", 0) for summary in summaries)
