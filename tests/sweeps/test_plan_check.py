"""What a plan says is what a sweep computes, stage by stage; where it is less, each answer less is accounted for."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from llmops_flows.engine.plan import PlanCheck
from llmops_flows.sweeps.grid.points import expand_points
from llmops_flows.sweeps.grid.settings import SweepSettings
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


def drawn(chance: random.Random) -> list[str]:
    """A sweep over some of the axes, some of their values."""
    axes = []
    for key, values in AXES.items():
        some = chance.sample(values, chance.randint(1, min(2, len(values))))
        if key in ("model", "retriever") or chance.random() < 0.7:
            axes.append(f"{key}={','.join(some)}")
    return ["flow=rag_support", f"questions.limit={chance.randint(2, 4)}", *axes]


@pytest.mark.parametrize("seed", [0, 1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 10))])
def test_what_is_planned_is_computed_or_accounted_for(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMOPS_FLOWS_HOME", str(tmp_path / "home"))
    chance = random.Random(seed)
    for out in (tmp_path / "first", tmp_path / "second"):  # the second sweep finds some of the first one's answers
        found = expand_points(drawn(chance))
        able = [point for point in found if point.same_as is None]
        planned = {name: len(count.new) for name, count in plan_stages(able).items() if count.new}
        foreseen = PlanCheck()
        outcomes = list(execute_points(found, out, SweepSettings(), check=foreseen))
        assert not any(outcome.failed for outcome in outcomes)
        stages = foreseen.stages
        assert {name: came.planned for name, came in stages.items()} == planned
        for name, came in stages.items():
            assert came.computed == computed(out, name)
            assert came.planned == came.computed + came.equal + came.known + came.unreached
        again = PlanCheck()
        assert not any(outcome.failed for outcome in execute_points(found, out, SweepSettings(), check=again))
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
def test_what_is_kept_nowhere_is_planned_wherever_it_is_computed(
    settings: SweepSettings, axes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMOPS_FLOWS_HOME", str(tmp_path / "home"))
    found = expand_points(["flow=rag_support", "model=extractive", "retriever=bm25", "questions.limit=3", *axes])
    able = [point for point in found if point.same_as is None]
    planned = {
        name: len(count.new) for name, count in plan_stages(able, isolated=settings.isolated).items() if count.new
    }
    foreseen = PlanCheck()
    assert not any(outcome.failed for outcome in execute_points(found, tmp_path / "out", settings, check=foreseen))
    came = foreseen.stages
    assert {name: one.planned for name, one in came.items()} == planned
    for name, one in came.items():
        assert one.computed == computed(tmp_path / "out", name)
        assert one.planned == one.computed + one.equal + one.known + one.unreached


def computed(folder: Path, stage: str) -> int:
    found = [json.loads(path.read_text()) for path in folder.glob("*/summary.json")]
    return sum(one["stages"].get(stage, {}).get("computed", 0) for one in found)
