"""No module of the package can execute stored data."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "llmops_flows"
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle", "imp"}
CALLS = {"eval", "exec", "compile", "__import__", "execfile"}
METHODS = {
    "yaml.load", "yaml.full_load", "yaml.unsafe_load", "yaml.load_all", "torch.load", "numpy.load", "np.load",
    "pandas.read_pickle", "pd.read_pickle", "os.system", "os.popen", "subprocess.getoutput", "code.interact",
    "types.FunctionType", "types.CodeType",
}  # fmt: skip


def violations(source: str) -> list[str]:
    """The imports and calls of a source file that could execute stored data."""
    result: list[str] = []
    names: dict[str, str] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            result += [alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES]
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            top = (node.module or "").partition(".")[0]
            result += [f"{node.module}.{alias.name}" for alias in node.names if top in MODULES]
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    safe = _safe_loaders(ast.parse(source))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            if any(k.arg == "Loader" and ast.unparse(k.value) in safe for k in node.keywords):
                continue
            result += _call(node, names)
        elif isinstance(node, ast.Constant) and node.value in MODULES - {"imp"}:
            result.append(f"the name {node.value!r} in a text")
    return result


def _safe_loaders(tree: ast.Module) -> set[str]:
    """The names of YAML loaders that create only plain data."""
    chosen = [node for node in ast.walk(tree) if isinstance(node, ast.Assign) and "SafeLoader" in ast.unparse(node)]
    return {"yaml.SafeLoader", "yaml.CSafeLoader"} | {ast.unparse(node.targets[0]) for node in chosen}


def _call(node: ast.Call, names: dict[str, str]) -> list[str]:
    called = ast.unparse(node.func)
    top, _, rest = called.partition(".")
    name = f"{names.get(top, top)}.{rest}" if rest else names.get(top, top)
    if name in CALLS | {f"builtins.{call}" for call in CALLS} or name in METHODS:
        return [name]
    result = [f"{name}({k.arg}=True)" for k in node.keywords if k.arg in ("allow_pickle", "shell") and _true(k.value)]
    if name.startswith("importlib") and name.endswith(("SourceFileLoader", "exec_module")):
        result.append(name)
    return result


def _true(node: ast.expr) -> bool:
    return not (isinstance(node, ast.Constant) and node.value is False)


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda f: f.relative_to(PACKAGE).as_posix())
def test_nothing_in_the_package_can_execute_stored_data(file: Path) -> None:
    assert violations(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "import dill as d",
        "eval('1')",
        "exec(text)",
        "import yaml\nyaml.load(text)",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
        "import yaml as y\ny.unsafe_load(text)",
        "from yaml import load\nload(text)",
        "from yaml import load as read\nread(text)",
        "import torch\ntorch.load(f)",
        "import numpy as np\nnp.load(f, allow_pickle=True)",
        "load('numpy').frombuffer(x, allow_pickle=True)",
        "import importlib\nimportlib.import_module('pickle')",
        "import subprocess\nsubprocess.run(x, shell=True)",
        "import builtins\nbuiltins.eval(x)",
    ],
)
def test_unsafe_code_is_detected(source: str) -> None:
    assert violations(source)


@pytest.mark.parametrize(
    "source",
    [
        "import json\njson.loads(x)",
        "import re\nre.compile(x)",
        "yaml.safe_load(x)",
        "yaml.load(x, Loader=yaml.SafeLoader)",
    ],
)
def test_safe_code_is_accepted(source: str) -> None:
    assert violations(source) == []
