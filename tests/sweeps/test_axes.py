"""A sweep's axes are what Hydra's grammar says, and those that are zipped move together."""

from __future__ import annotations

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from llmops_flows import ConfigError
from llmops_flows.sweeps.grid.axes import parse_grid

TYPED = [
    ["a=1,2", "b=x"],
    ["a=1,2", "b=x,y,z", "c=3"],
    ["a=choice(1,2,5)", "b=range(1,4)"],
    ["a=sort(3,1,2)", "b='p,q','r s'"],
    ["+a.b=1,2", "~c", "++d=[1,2],[3]"],
    ["a=1,2", "a=3"],
]


@pytest.mark.parametrize("typed", TYPED)
def test_the_points_are_those_of_hydras_basic_sweeper(typed: list[str]) -> None:
    [theirs] = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(typed), None)
    parsed = [sorted(_values(point)) for point in theirs]
    found = parse_grid(typed)
    assert sorted(sorted(_values([*found.fixed, *point])) for point in found.combinations) == sorted(parsed)


def _values(point: list[str] | tuple[str, ...]) -> list[str]:
    found = OverridesParser.create().parse_overrides(list(point))
    return [f"{o.get_key_element()}={None if o.is_delete() else o.value()}" for o in found]


def test_a_value_that_is_named_twice_is_one_point() -> None:
    assert len(parse_grid(["a=1,2,1"]).combinations) == 2


def test_zipped_axes_move_together() -> None:
    points = parse_grid(["a=1,2", "b=x,y", "c=5,6"], [["a", "b"]]).combinations
    assert points == [("a=1", "b=x", "c=5"), ("a=1", "b=x", "c=6"), ("a=2", "b=y", "c=5"), ("a=2", "b=y", "c=6")]


def test_zipped_axes_of_unequal_length_are_a_problem() -> None:
    with pytest.raises(ConfigError, match="a has 2, b has 3"):
        parse_grid(["a=1,2", "b=x,y,z"], [["a", "b"]])


def test_a_zipped_key_that_does_not_vary_is_a_problem() -> None:
    with pytest.raises(ConfigError, match="did you mean 'retriever'"):
        parse_grid(["retriever=bm25,chroma", "b=1,2"], [["retriver", "b"]])


@pytest.mark.parametrize("zipped", [[["a", "b"], ["b", "c"]], [["a", "b", "b"]]])
def test_a_key_that_is_zipped_twice_is_a_problem(zipped: list[list[str]]) -> None:
    with pytest.raises(ConfigError, match="'b' occurs 2 times"):
        parse_grid(["a=1,2", "b=x,y", "c=5,6"], zipped)


def test_every_override_that_cannot_be_read_is_told() -> None:
    with pytest.raises(ConfigError) as told:
        parse_grid(["a=é,x", "b=1,2", "c=a,]"])
    assert [problem.key for problem in told.value.problems] == ["a=é,x", "c=a,]"]
    assert all("quote a value" in problem.hint for problem in told.value.problems)


def test_an_interval_is_a_problem_here() -> None:
    with pytest.raises(ConfigError, match="interval"):
        parse_grid(["a=interval(0,1)"])
