"""The points of a sweep have the same configs as if each were composed in full."""

from __future__ import annotations

import time
from typing import Any

import pytest
from omegaconf import OmegaConf

from llmops_flows import ConfigError
from llmops_flows.config.compose import compose
from llmops_flows.config.composition import composed as composing
from llmops_flows.config.composition.interpolation import resolve, resolve_plain
from llmops_flows.config.files.groups import options
from llmops_flows.sweeps.grid import composer as pointing
from llmops_flows.sweeps.grid.axes import parse_grid
from llmops_flows.sweeps.grid.composer import compose_points

GRIDS = {
    "groups and values": [
        "flow=rag_support", "retriever=bm25,chroma,hybrid", "retriever.k=2,4,8", "reranker=none,sentences",
        "cache=exact,none", "model=extractive,smollm2,echo",
    ],
    "values of one part": ["flow=rag_support", "splitter.size=400,800,1200", "questions.limit=3,4,5", "tenant=a,b,c"],
    "an option that brings other keys": [
        "flow=rag_support", "retriever=bm25,hybrid", "splitter=pages,sentences", "evaluator=none,basic",
        "samples=1,2,3",
    ],
    "flows": ["flow=chat,rag_support", "reranker=none,sentences", "cache=none,exact", "model=echo,extractive"],
}  # fmt: skip


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The overrides of every composition during a test."""
    composed: list[tuple[str, ...]] = []

    def record(overrides: list[str], **options: Any) -> composing.Composed:
        composed.append(tuple(overrides))
        return compose(overrides, **options)

    monkeypatch.setattr(pointing, "compose", record)
    return composed


@pytest.mark.parametrize("name", GRIDS)
def test_each_point_equals_its_full_composition(name: str) -> None:
    grid = parse_grid(GRIDS[name])
    points = compose_points(grid)
    assert len(points) == len(grid.combinations)
    for point in points[:: max(1, len(points) // 12)]:
        complete = compose([*grid.fixed, *point.overrides])
        assert OmegaConf.to_container(complete.config) == point.raw
        assert list(complete.plain["stages"]) == list(point.plain["stages"])
        assert complete.choices == point.choices
        assert complete.stage_keys == point.stage_keys
        assert complete.plain == point.plain


def test_values_are_composed_instead_of_their_combinations(composed: list[tuple[str, ...]]) -> None:
    asked = parse_grid(
        ["flow=rag_support", "retriever=bm25,chroma", "retriever.k=range(1,11)", "reranker=none,sentences"]
    )
    assert len(compose_points(asked)) == 40
    assert len(composed) < 35


def test_axes_that_depend_on_each_other_are_composed_in_full(composed: list[tuple[str, ...]]) -> None:
    points = compose_points(
        parse_grid(["flow=rag_support", "flow=chat,rag_support", "prompt=chat/v1,rag_support/v1,rag_support/v2"])
    )
    assert [dict(p.choices)["prompt"] for p in points] == ["chat/v1", "rag_support/v1", "rag_support/v2"] * 2


def test_the_problems_of_all_values_are_reported_at_once() -> None:
    overrides = [
        "flow=rag_support",
        "retriever=bm52,chroma",
        "reranker=nune,sentences",
        "cache=exact,none",
        "samples=1,2,3",
    ]
    with pytest.raises(ConfigError) as caught:
        compose_points(parse_grid(overrides))
    assert "'bm25'" in str(caught.value) and "'none'" in str(caught.value)


@pytest.mark.parametrize("flow", options("flow"))
def test_interpolations_are_resolved_as_omegaconf_does(flow: str) -> None:
    for group in ("retriever", "model", "guardrail", "evaluator", "store"):
        for option in options(group):
            config = compose([f"flow={flow}", f"{group}={option}"]).config
            if not OmegaConf.missing_keys(config):
                assert resolve_plain(OmegaConf.to_container(config)) == resolve(config)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "raw",
    [
        {"a": "${b.c}", "b": {"c": "${d}"}, "d": [1, "${e}"], "e": None},
        {"a": "${b}/x-${c}", "b": "y", "c": 3},
        {"a": "${b.c.d}", "b": "${e}", "e": {"c": {"d": 1.5}}},
        {"a": "\\${b}", "b": 1},
        {"a": "${oc.env:HOME}"},
        {"a": "${oc.env:NOT_SET_AT_ALL,${b}}", "b": "otherwise"},
        {"a": {"b": "${.c}", "c": 2}},
        {"a": "x${b}", "b": 1.0},
        {"a": "x${b}", "b": True},
        {"a": "${b.0}", "b": [7]},
        {"a": "${oc.dict.keys:b}", "b": {"c": 1}},
    ],
)
def test_every_kind_of_interpolation(raw: dict[str, object]) -> None:
    assert resolve_plain(raw) == OmegaConf.to_container(OmegaConf.create(raw), resolve=True)


@pytest.mark.parametrize("raw", [{"a": "${b}"}, {"a": "${a}"}, {"a": "${b}", "b": "${a}"}, {"a": "???"}])
def test_an_interpolation_that_cannot_be_resolved_is_an_error(raw: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        resolve_plain(raw)


def test_resolving_is_much_faster_than_omegaconf() -> None:
    config = compose(["flow=rag_support"]).config
    raw = OmegaConf.to_container(config)
    start = time.process_time()
    for _ in range(20):
        resolve(OmegaConf.create(raw))
    omegaconf_seconds = time.process_time() - start
    start, resolver_values = time.process_time(), dict[str, Any]()
    for _ in range(20):
        resolve_plain(raw, resolver_values)  # type: ignore[arg-type]
    assert time.process_time() - start < omegaconf_seconds / 3


def test_too_many_points_are_refused_at_once() -> None:
    start = time.process_time()
    with pytest.raises(ConfigError, match="this sweep has 1,000,000 points"):
        compose_points(parse_grid(["flow=rag_support", "retriever.k=range(0,1000)", "samples=range(0,1000)"]))
    assert time.process_time() - start < 2
