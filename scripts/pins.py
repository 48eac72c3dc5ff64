"""Pins each shipped component's code to its `version`: `make pins` writes tests/pins.json, a test compares.

A component's digest covers its class and every class, function and constant of this package that the class refers
to, directly or indirectly. A change of `text.words.stem` changes the digests of Bm25 and BestSentences, but not of a
prompt. The digest ignores what cannot change an answer: comments, docstrings, annotations of functions, and the code
that runs, stores and addresses stages (`INFRASTRUCTURE`), except for redaction, which changes loaded texts. It is
computed from the syntax tree, so formatting does not matter.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "tests" / "pins.json"
PACKAGE = "llmops_flows"
PACKAGES = ("components", "core", "documents", "stores", "text", "testing")
INFRASTRUCTURE = tuple(f"{PACKAGE}.{name}." for name in ("core", "engine", "calls", "artifacts"))
INCLUDED = tuple(
    f"{PACKAGE}.{name}" for name in ("core.redaction", "core.roles", "calls.service_errors", "artifacts.vectors")
)


class Symbol(NamedTuple):
    """A top-level name of a module."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module.removeprefix(PACKAGE + '.')}.{self.name}"


class Module:
    """The top-level definitions of a source file, and where its imported names come from."""

    def __init__(self, name: str) -> None:
        self.name = name
        path = ROOT.joinpath(*name.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        self.nodes: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, tuple[str, str]] = {}
        is_package = path.is_dir()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                self._import(node, is_package)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.startswith(PACKAGE):
                        self.imports[alias.asname or alias.name] = (alias.name, "")
        for statement in ast.parse(file.read_text(encoding="utf-8")).body:
            for defined in _defined(statement):
                self.nodes.setdefault(defined, []).append(statement)

    def _import(self, node: ast.ImportFrom, is_package: bool) -> None:
        base = self.name.split(".")
        if node.level:
            base = base[: len(base) - node.level + is_package]
            home = ".".join([*base, *([node.module] if node.module else [])])
        else:
            home = node.module or ""
        if home.split(".")[0] == PACKAGE:
            for alias in node.names:
                self.imports[alias.asname or alias.name] = (home, alias.name)


@cache
def module(name: str) -> Module:
    return Module(name)


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return [statement.name]
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return []
    return [n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def _resolve(where: Module, name: str) -> Iterator[Symbol]:
    """The symbols of this package that a name in a module refers to."""
    if name in where.nodes:
        yield Symbol(where.name, name)
    elif name in where.imports:
        home, original = where.imports[name]
        if original and _is_module(f"{home}.{original}"):
            yield from (Symbol(f"{home}.{original}", n) for n in module(f"{home}.{original}").nodes)
        elif _is_module(home):
            names = module(home)
            yield from _resolve(names, original) if original else (Symbol(home, n) for n in names.nodes)


@cache
def references(symbol: Symbol) -> tuple[Symbol, ...]:
    """The symbols that the code of a symbol refers to."""
    where, symbols = module(symbol.module), set()
    for statement in where.nodes.get(symbol.name, []):
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                symbols.update(_resolve(where, node.id))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and f"{PACKAGE}." in node.value:
                symbols.update(_from_text(node.value))
    symbols.discard(symbol)
    return tuple(sorted(symbols))


def _from_text(text: str) -> Iterator[Symbol]:
    """The symbol that a text names, such as `llmops_flows.documents.pdf:pages`."""
    home, _, name = text.replace(":", ".").rpartition(".")
    if _is_module(home) and name in module(home).nodes:
        yield Symbol(home, name)


def counts(symbol: Symbol) -> bool:
    """Whether a change of a symbol may change answers."""
    return symbol.module.startswith(INCLUDED) or not f"{symbol.module}.".startswith(INFRASTRUCTURE)


def closure(symbol: Symbol) -> list[Symbol]:
    """The symbol, and every symbol that its code refers to, directly or indirectly."""
    seen, waiting = {symbol}, [symbol]
    while waiting:
        for reference in references(waiting.pop()):
            if reference not in seen and counts(reference):
                seen.add(reference)
                waiting.append(reference)
    return sorted(seen)


@cache
def digest(symbol: Symbol) -> str:
    """The digest of the code of one symbol."""
    trees = [_tree(node) for node in module(symbol.module).nodes.get(symbol.name, [])]
    return hashlib.sha256(json.dumps(trees).encode()).hexdigest()[:16]


def _tree(node: Any) -> Any:
    """A syntax tree as plain data, without what changes no answer; the same in every Python version."""
    if isinstance(node, list):
        return [_tree(n) for n in node if not _is_ignored(n)]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        fields.pop("returns")
        if ast.get_docstring(node, clean=False) is not None:
            fields["body"] = fields["body"][1:]
    elif isinstance(node, ast.ClassDef) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = fields["body"][1:]
    elif isinstance(node, ast.arg):
        fields.pop("annotation")
    trees = {name: _tree(value) for name, value in fields.items() if value is not None and value != []}
    return [type(node).__name__, {k: v for k, v in trees.items() if k not in ("ctx", "type_comment", "version")}]


def _is_ignored(node: Any) -> bool:
    """Whether a statement is a bare text (the docstring of a constant), or the version itself."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "version":
        return True
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def components() -> dict[str, type]:
    """Every shipped component that can be part of an identity, by its dotted name."""
    from llmops_flows.core.stage import Part

    classes: dict[str, type] = {}
    for name in PACKAGES:
        package = importlib.import_module(f"{PACKAGE}.{name}")
        for info in pkgutil.walk_packages(package.__path__, f"{PACKAGE}.{name}."):
            for value in vars(importlib.import_module(info.name)).values():
                if isinstance(value, type) and issubclass(value, Part) and value.__module__ == info.name:
                    classes[f"{value.__module__}.{value.__qualname__}"] = value
    return dict(sorted(classes.items()))


def pins() -> dict[str, Any]:
    """The pins of the current code: version and digest of each component, and digest of each symbol."""
    pinned: dict[str, Any] = {}
    symbols: dict[str, str] = {}
    for name, cls in components().items():
        parts = closure(Symbol(cls.__module__, cls.__qualname__))
        symbols.update({str(part): digest(part) for part in parts})
        combined = hashlib.sha256("\n".join(f"{part} {digest(part)}" for part in parts).encode()).hexdigest()
        pinned[name] = {"version": cls.version, "digest": combined[:32]}  # type: ignore[attr-defined]
    return {"components": pinned, "symbols": dict(sorted(symbols.items()))}


def changed(saved: dict[str, Any]) -> dict[str, list[str]]:
    """Component to its changed symbols, for components whose code changed and whose version did not."""
    current, result = pins(), {}
    for name, pin in current["components"].items():
        old = saved["components"].get(name)
        if old is not None and old["digest"] != pin["digest"] and old["version"] == pin["version"]:
            cls = components()[name]
            parts = [str(part) for part in closure(Symbol(cls.__module__, cls.__qualname__))]
            symbols = [part for part in parts if saved["symbols"].get(part) != current["symbols"][part]]
            result[name] = symbols or ["(a reference was removed)"]
    return result


def main() -> int:
    sys.path.insert(0, str(ROOT))
    if PINS.exists():
        for name, parts in changed(json.loads(PINS.read_text(encoding="utf-8"))).items():
            print(f"{name}: new code, same version; changed: {', '.join(parts)}")
    PINS.write_text(json.dumps(pins(), indent=1) + "\n", encoding="utf-8")
    print(f"{PINS.relative_to(ROOT)}: {len(components())} components")
    return 0


if __name__ == "__main__":
    sys.exit(main())
