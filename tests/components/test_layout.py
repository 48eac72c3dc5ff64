"""The match of conf/ and components/, and names that are unique in the package."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmops_flows.components.tracer.local import LocalTracer
from llmops_flows.core.cache_policy import CachePolicy
from llmops_flows.core.roles import Embedder, Evaluator, Guardrail, Model, Prompt, Reranker, Retriever, Splitter
from llmops_flows.core.trace import Exporter
from llmops_flows.stores.store_config import StoreConfig

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
PACKAGE = ROOT / "llmops_flows"
ROLES: dict[str, tuple[type, ...]] = {
    "cache": (CachePolicy,),
    "embedder": (Embedder,),
    "evaluator": (Evaluator,),
    "guardrail": (Guardrail,),
    "model": (Model,),
    "prompt": (Prompt,),
    "reranker": (Reranker,),
    "retriever": (Retriever,),
    "splitter": (Splitter,),
    "store": (StoreConfig,),
    "tracer": (LocalTracer, Exporter),
}
"""Config group to the base classes of its components."""
NOT_COMPONENTS = {"flow", "debug", "hydra"}
BASES = {"llmops_flows.components.model.service_model.ServiceModel": "base of the models behind an API"}
"""Classes that no config names, with the reason."""
SHARED_MODULE_NAMES = {
    "clock": "testing/clock.py is the fake of core/clock.py",
    "progress": "the progress of a sweep, and its display on the command line",
    "run": "a run in the engine, and the command that runs one flow",
    "settings": "the settings of a sweep, and those of a search",
}
"""Module names that occur twice outside of components/, integrations/ and cli/commands/, with the reason."""


def targets(node: Any) -> Iterator[str]:
    """Every `_target_` of a config, at any depth."""
    if isinstance(node, dict):
        if isinstance(node.get("_target_"), str):
            yield node["_target_"]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from targets(item)


def options(group: str) -> dict[Path, list[str]]:
    """The files of a config group and the classes that each names."""
    files = sorted((CONF / group).rglob("*.yaml"))
    return {file: list(targets(yaml.safe_load(file.read_text(encoding="utf-8")))) for file in files}


def components(group: str) -> set[str]:
    """The concrete component classes that the modules of a group define."""
    classes = set()
    for file in sorted((PACKAGE / "components" / group).glob("*.py")):
        module = importlib.import_module(f"llmops_flows.components.{group}.{file.stem}")
        for cls in vars(module).values():
            is_component = isinstance(cls, type) and issubclass(cls, ROLES[group]) and not inspect.isabstract(cls)
            if is_component and cls.__module__ == module.__name__:
                classes.add(f"{cls.__module__}.{cls.__qualname__}")
    return classes


def test_config_groups_and_component_folders_have_the_same_names() -> None:
    groups = {folder.name for folder in CONF.iterdir() if folder.is_dir() and not folder.name.startswith(".")}
    folders = {folder.name for folder in (PACKAGE / "components").iterdir() if (folder / "__init__.py").is_file()}
    assert groups - NOT_COMPONENTS == folders == ROLES.keys()


@pytest.mark.parametrize("group", ROLES)
def test_options_name_classes_of_the_folder_of_their_group(group: str) -> None:
    home = f"llmops_flows.components.{group}"
    for file, named in options(group).items():
        modules = {target.rpartition(".")[0] for target in named}
        assert all(module.startswith(f"{home}.") for module in modules), file
        if named and (PACKAGE / "components" / group / f"{file.stem}.py").is_file():
            assert f"{home}.{file.stem}" in modules, file


@pytest.mark.parametrize("group", ROLES)
def test_every_component_is_offered_by_an_option(group: str) -> None:
    offered = {target for named in options(group).values() for target in named}
    assert components(group) - offered - BASES.keys() == set()


def test_class_names_are_unique() -> None:
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in sorted(PACKAGE.rglob("*.py"))]
    counts = Counter(node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))
    assert {name for name, count in counts.items() if count > 1} == set()


def test_module_names_are_unique() -> None:
    files = [file for file in PACKAGE.rglob("*.py") if not file.stem.startswith("__")]
    apart = {PACKAGE / "components", PACKAGE / "integrations", PACKAGE / "cli" / "commands"}
    counts = Counter(file.stem for file in files if not apart & set(file.parents))
    assert {name for name, count in counts.items() if count > 1} <= SHARED_MODULE_NAMES.keys()
