"""Bombs are refused: what is small to write and dear to read costs neither time nor memory."""

from __future__ import annotations

import importlib
import pkgutil
import re
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import llmops_flows
from llmops_flows import ConfigError
from llmops_flows.components.prompt.chat import fill_template, template_slots
from llmops_flows.config.composition.quoting import quote
from llmops_flows.config.load import load_experiment

SECONDS = 1.0
BYTES = 50_000_000
_ALIASES = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
FILES = {
    "aliases": _ALIASES,
    "merged aliases": "a: &a {x: 1}\n" + "".join(f"b{n}: &b{n} {{<<: [{'*a, ' * 200}*a]}}\n" for n in range(40)),
    "deep lists": "a: " + "[" * 5000,
    "deep mappings": "a: " + "{a: " * 5000,
    "deep indents": "".join(" " * n + f"k{n}:\n" for n in range(600)),
    "many values": "a: [" + "1," * 100_000 + "]",
    "large": "a: " + "x" * 1_000_000,
    "many digits": "a: " + "9" * 200_000,
    "twice": "a: 1\na: 2\n",
    "many documents": "---\na: 1\n" * 20_000,
    "sexagesimal": "a: " + "1:" * 50_000 + "1",
    "anchors": "".join(f"a{n}: &a{n} x\n" for n in range(20_000)),
}
GROWTH = {
    "doubling text": {f"k{n}": f"${{k{n + 1}}}${{k{n + 1}}}" for n in range(30)} | {"k30": "x" * 50},
    "doubling lists": {f"k{n}": [f"${{k{n + 1}}}"] * 2 for n in range(30)} | {"k30": ["x"] * 50},
    "long chain": {f"k{n}": f"${{k{n + 1}}}" for n in range(500)} | {"k500": "x"},
    "circle": {"a": "${b}", "b": {"c": "${a}"}},
    "relative circle": {"a": {"b": "${.c}", "c": "${.b}"}},
    "itself": {"a": "x${a}"},
}


def cost(work: Callable[[], Any]) -> tuple[float, int]:
    """CPU seconds, and the most bytes held at a time."""
    begun = time.process_time()
    work()
    seconds = time.process_time() - begun
    tracemalloc.start()
    try:
        work()
        return seconds, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refused(work: Callable[[], Any]) -> Callable[[], None]:
    def tried() -> None:
        with pytest.raises(ConfigError):
            work()

    return tried


@pytest.fixture(scope="module")
def baseline() -> float:
    """What a config with one ordinary mistake costs."""
    load_experiment("flow=chat", "model=echo")
    wrong = refused(lambda: load_experiment("flow=chat", "model=echo", "tenan=a"))
    begun = time.process_time()
    wrong()
    wrong()
    return (time.process_time() - begun) / 2


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_a_bomb_is_refused_at_once(
    name: str, baseline: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "bomb.yaml").write_text(FILES[name])
    monkeypatch.chdir(tmp_path)
    seconds, most = cost(refused(lambda: load_experiment("flow=chat", "model=bomb")))
    assert seconds <= baseline * 1.5 + SECONDS
    assert most <= BYTES


@pytest.mark.parametrize("name", GROWTH)
def test_interpolations_that_grow_or_run_in_circles_are_refused_at_once(
    name: str, baseline: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    (tmp_path / "conf" / "debug").mkdir(parents=True)
    text = "# @package _global_\n" + json.dumps(GROWTH[name])
    (tmp_path / "conf" / "debug" / "bomb.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    seconds, most = cost(refused(lambda: load_experiment("flow=chat", "model=echo", "+debug=bomb")))
    assert seconds <= baseline * 1.5 + SECONDS
    assert most <= BYTES


@pytest.mark.parametrize(
    "text", ["{a:>800000000}", "{a:{b}}", "{" * 50_000, "}" * 49_999, "{a" * 25_000, "{a." * 15_000, "{a}}{" * 9_000]
)
def test_a_template_that_is_a_bomb_is_refused_at_once(text: str) -> None:
    def read() -> None:
        try:
            fill_template(text, dict.fromkeys(template_slots(text), "x"))
        except ValueError:
            pass

    seconds, most = cost(read)
    assert seconds <= SECONDS and most <= BYTES


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Every compiled pattern of the package, wherever a module keeps it."""
    for found in pkgutil.walk_packages(llmops_flows.__path__, "llmops_flows."):
        if found.name.endswith("__main__"):
            continue
        yield from _patterns(importlib.import_module(found.name))


def _patterns(module: ModuleType) -> Iterator[tuple[str, re.Pattern[str]]]:
    waiting: list[tuple[str, Any]] = [(n, v) for n, v in vars(module).items() if not n.startswith("__")]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, re.Pattern):
            if isinstance(value.pattern, str):
                yield f"{module.__name__}.{name}", value
        elif isinstance(value, (list, tuple)):
            waiting += [(name, inner) for inner in value]
        elif isinstance(value, dict):
            waiting += [(name, inner) for inner in value.values()]


UNITS = (
    *(
        "a",
        "A",
        "1",
        " ",
        "\n",
        "_",
        "-",
        ".",
        "/",
        "\\",
        "{",
        "}",
        "${",
        "${a",
        "${a:",
        "=",
        "'",
        '"',
        ":",
        "://",
        "a@",
    ),
    *("a.", "1-", "1 ", "a ", "A.", "sk-", "eyJ", "-----BEGIN ", "Bearer ", "[", "](", "<", "<a ", "\t", "ü"),
)


def test_no_pattern_of_the_package_takes_long_over_50_kilobytes() -> None:
    slow = []
    found = dict(patterns())
    assert len(found) > 20
    for name, pattern in found.items():
        for unit in UNITS:
            text = unit * (50_000 // len(unit)) + "\0"
            begun = time.process_time()
            pattern.search(text)
            if time.process_time() - begun > SECONDS:
                slow.append((name, unit))
    assert not slow


def test_free_text_of_50_kilobytes_is_quoted_at_once() -> None:
    for unit in ("'", "\\", "${", "\\'", "a"):
        seconds, most = cost(lambda unit=unit: quote(unit * 25_000))  # type: ignore[misc]
        assert seconds <= SECONDS and most <= BYTES, unit
