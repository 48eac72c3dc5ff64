"""Every shipped component's code is pinned to its version, so that nobody forgets to raise it."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pins", Path(__file__).parent.parent / "scripts" / "pins.py")
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules["pins"] = found
    spec.loader.exec_module(found)
    return found


pins = _script()


def symbol(dotted: str) -> object:
    module, _, name = f"llmops_flows.{dotted}".rpartition(".")
    return pins.Symbol(module, name)


def test_no_component_answers_by_other_code_under_its_old_version() -> None:
    kept = json.loads(pins.PINS.read_text(encoding="utf-8"))
    problems = [
        f"{name} has new code behind version {kept['components'][name]['version']}; changed: {', '.join(parts)}"
        for name, parts in pins.changed(kept).items()
    ]
    advice = (
        "Where answers can be others than before, raise `version: ClassVar[int]` of the component, so that kept"
        " answers are not used any more; where they cannot (a renaming), leave it. Then `make pins`."
    )
    assert not problems, "\n".join([*problems, advice])


def test_the_pins_are_those_of_the_code() -> None:
    kept, now = json.loads(pins.PINS.read_text(encoding="utf-8"))["components"], pins.pins()["components"]
    lowered = [name for name in kept.keys() & now.keys() if now[name]["version"] < kept[name]["version"]]
    assert not lowered, f"a version never goes back: {lowered}"
    other = sorted(name for name in kept.keys() | now.keys() if kept.get(name) != now.get(name))
    assert not other, f"{other}: `make pins` writes the list anew"


@pytest.mark.parametrize(
    "name",
    [
        "components.retriever.bm25.Bm25",
        "components.reranker.sentences.SentenceReranker",
        "components.model.extractive.Extractive",
    ],
)
def test_a_change_of_the_words_reaches_whom_it_concerns(name: str) -> None:
    assert symbol("text.words.stem") in pins.closure(symbol(name))


@pytest.mark.parametrize(
    "name",
    ["components.prompt.chat.ChatPrompt", "components.model.echo.Echo", "components.embedder.wordllama.WordLlama"],
)
def test_and_nobody_else(name: str) -> None:
    assert symbol("text.words.stem") not in pins.closure(symbol(name))


def test_what_is_found_by_a_name_in_a_text_counts_too() -> None:
    assert symbol("documents.pdf.pdf_pages") in pins.closure(symbol("components.retriever.bm25.Bm25"))


def tree(source: str) -> object:
    return pins._tree(ast.parse(source).body[0])


def test_comments_docstrings_and_annotations_do_not_count() -> None:
    said = tree('def f(a: int) -> int:\n    """Adds."""\n    return a + 1  # one\n')
    assert said == tree("def f(a):\n\n    return a+1")


@pytest.mark.parametrize(
    "other", ["def f(a):\n    return a + 2", "def f(b):\n    return b + 1", "def g(a):\n    return a + 1"]
)
def test_code_counts(other: str) -> None:
    assert tree("def f(a):\n    return a + 1") != tree(other)
