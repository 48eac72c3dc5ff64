"""The public names of the package."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import llmops_flows


def test_every_public_name_can_be_imported() -> None:
    assert [name for name in llmops_flows.__all__ if not hasattr(llmops_flows, name)] == []


def test_type_checkers_see_the_names_that_are_loaded_on_demand() -> None:
    tree = ast.parse(Path(str(llmops_flows.__file__)).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imported = [alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(imported) == sorted(llmops_flows.__all__) == sorted(llmops_flows._HOME_OF)


def test_importing_the_package_loads_no_module_of_it() -> None:
    code = "import llmops_flows, sys; print([name for name in sys.modules if name.startswith('llmops_flows.')])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
