"""The structure of the package: layers, rings and package sizes, also where import-linter cannot see an import."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "llmops_flows"
MODULES_PER_PACKAGE = 15


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(file): file for file in sorted((ROOT / PACKAGE).rglob("*.py"))}


def named_modules(module: str) -> Iterator[str]:
    """The modules of this package that a module names in a string, to import them later."""
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            dotted = re.fullmatch(rf"({PACKAGE}(?:\.\w+)+)(?::\w+)?", node.value)
            steps = dotted[1].split(".") if dotted else []
            names = [".".join(steps[:depth]) for depth in range(len(steps), 1, -1)]
            yield from (name for name in names[:2] if name in FILES and name != module)


def layers() -> list[set[str]]:
    """The layers of import-linter's contract, the highest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    contract = next(found for found in settings["contracts"] if found["type"] == "layers")
    return [{name.strip() for name in layer.split("|")} for layer in contract["layers"]]


@pytest.mark.parametrize("package", sorted({name.rpartition(".")[0] for name in FILES if "." in name}))
def test_a_package_has_at_most_15_modules(package: str) -> None:
    modules = [n for n, f in FILES.items() if n.rpartition(".")[0] == package and f.name != "__init__.py"]
    assert len(modules) <= MODULES_PER_PACKAGE, modules


def test_every_file_begins_with_a_sentence_that_says_what_it_is_for() -> None:
    def summary(file: Path) -> str:
        return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n\n")[0]

    assert [n for n, file in FILES.items() if not summary(file).endswith((".", ":"))] == []


def test_modules_that_are_imported_by_name_lie_in_a_lower_layer() -> None:
    level = {package: depth for depth, packages in enumerate(layers()) for package in packages}

    def depth(module: str) -> int:
        return level.get(module.split(".")[1], -1) if "." in module else -1

    edges = [(module, named) for module in FILES for named in named_modules(module)]
    assert edges, "no module is imported by name: this test can go"
    above = [(a, b) for a, b in edges if a.split(".")[1:2] != b.split(".")[1:2] and depth(a) >= depth(b)]
    assert above == []


def test_the_architecture_page_names_files_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    files = set(re.findall(r"`((?:\w+/)+\w+\.(?:py|yaml))`", page))
    assert len(files) > 10
    places = (ROOT, ROOT / PACKAGE)
    assert [file for file in sorted(files) if not any((place / file).is_file() for place in places)] == []
