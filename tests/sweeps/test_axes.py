"""The axes of a sweep follow Hydra's grammar, and zipped axes vary together."""

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
def test_points_are_those_of_the_basic_sweeper_of_hydra(typed: list[str]) -> None:
    [expected] = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(typed), None)
    points = [sorted(_values(point)) for point in expected]
    grid = parse_grid(typed)
    assert sorted(sorted(_values([*grid.fixed, *point])) for point in grid.combinations) == sorted(points)


def _values(point: list[str] | tuple[str, ...]) -> list[str]:
    overrides = OverridesParser.create().parse_overrides(list(point))
    return [f"{o.get_key_element()}={None if o.is_delete() else o.value()}" for o in overrides]


def test_a_repeated_value_makes_one_point() -> None:
    assert len(parse_grid(["a=1,2,1"]).combinations) == 2


def test_zipped_axes_move_together() -> None:
    points = parse_grid(["a=1,2", "b=x,y", "c=5,6"], [["a", "b"]]).combinations
    assert points == [("a=1", "b=x", "c=5"), ("a=1", "b=x", "c=6"), ("a=2", "b=y", "c=5"), ("a=2", "b=y", "c=6")]


def test_zipped_axes_must_have_equal_lengths() -> None:
    with pytest.raises(ConfigError, match="a has 2, b has 3"):
        parse_grid(["a=1,2", "b=x,y,z"], [["a", "b"]])


def test_a_zipped_key_must_have_several_values() -> None:
    with pytest.raises(ConfigError, match="did you mean 'retriever'"):
        parse_grid(["retriever=bm25,chroma", "b=1,2"], [["retriver", "b"]])


@pytest.mark.parametrize("zipped", [[["a", "b"], ["b", "c"]], [["a", "b", "b"]]])
def test_a_key_must_not_be_zipped_twice(zipped: list[list[str]]) -> None:
    with pytest.raises(ConfigError, match="'b' occurs 2 times"):
        parse_grid(["a=1,2", "b=x,y", "c=5,6"], zipped)


def test_every_override_that_cannot_be_parsed_is_reported() -> None:
    with pytest.raises(ConfigError) as error:
        parse_grid(["a=é,x", "b=1,2", "c=a,]"])
    assert [problem.key for problem in error.value.problems] == ["a=é,x", "c=a,]"]
    assert all("quote a value" in problem.hint for problem in error.value.problems)


def test_a_sweep_has_no_intervals() -> None:
    with pytest.raises(ConfigError, match="interval"):
        parse_grid(["a=interval(0,1)"])
