"""Editors check option files by JSON Schemas that are made from the classes, and are up to date."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource

from llmops_flows.config import json_schema
from llmops_flows.config.files import yaml_file
from llmops_flows.config.files.paths import data_dir
from scripts import schemas

CONF = data_dir("conf")
FILES = sorted(CONF.rglob("*.yaml"))


@pytest.fixture(scope="module")
def registry() -> Registry[Any]:
    folder = CONF / json_schema.FOLDER
    found = [(p.name, Resource.from_contents(json.loads(p.read_text()))) for p in folder.glob("*.json")]
    return Registry().with_resources(found)


def validator(name: str, registry: Registry[Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({"$ref": name}, registry=registry)


def test_the_schemas_and_headers_are_up_to_date() -> None:
    assert [str(path.relative_to(CONF)) for path in schemas.stale()] == [], "run make schemas"


@pytest.mark.parametrize("file", FILES, ids=lambda p: p.relative_to(CONF).as_posix())
def test_every_shipped_file_names_a_schema_that_it_fulfils(file: Path, registry: Registry[Any]) -> None:
    text = file.read_text()
    [named] = re.findall(r"^# yaml-language-server: \$schema=(.*)$", text, re.MULTILINE)
    place = (file.parent / named).resolve()
    assert place.is_file()
    assert "# @package" not in text or text.startswith("# @package")
    validator(place.name, registry).validate(yaml_file.read(file).data)


@pytest.mark.parametrize(
    ("option", "change"),
    [
        ("retriever/bm25", {"kk": 3}),
        ("retriever/bm25", {"k": 0}),
        ("retriever/bm25", {"k": "many"}),
        ("retriever/bm25", {"_target_": "os.system"}),
        ("model/smollm2", {"prices": {"inptu": 1}}),
        ("model/smollm2", {"temperature": 9}),
        ("prompt/chat/v1", {"messages": [{"role": "nobody"}]}),
        ("flow/chat", {"nmae": "x"}),
        ("flow/chat", {"questions": {"limt": 3}}),
    ],
)
def test_an_editor_sees_a_mistake(option: str, change: dict[str, Any], registry: Registry[Any]) -> None:
    file = CONF / f"{option}.yaml"
    checks = validator(schemas.schema_name(file), registry)
    assert not checks.is_valid({**yaml_file.read(file).data, **change})


def test_a_value_may_be_an_interpolation(registry: Registry[Any]) -> None:
    file = CONF / "retriever" / "bm25.yaml"
    data = {**yaml_file.read(file).data, "k": "${samples}", "b": "???"}
    validator(schemas.schema_name(file), registry).validate(data)


def test_a_field_is_described_by_the_docstring_of_its_class() -> None:
    text = (CONF / json_schema.FOLDER / "llmops_flows.components.prompt.chat.ChatPrompt.json").read_text()
    assert "text between passages" in json.loads(text)["properties"]["separator"]["description"]


def test_a_users_own_component_has_a_schema_too(tmp_path: Path) -> None:
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "shout.py").write_text(
        "from llmops_flows import Stage\n\n\nclass Shout(Stage):\n    '''Shouts.\n\n    Attributes:\n"
        "        mark: what stands at the end.\n    '''\n\n    writes = 'answer'\n    mark: str = '!'\n\n"
        "    def run(self, question: str) -> str:\n        return question.upper() + self.mark\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "llmops_flows", "schema", "my_package.shout.Shout"],
        cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ), timeout=60,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["properties"]["mark"]["description"] == "what stands at the end."
    jsonschema.Draft202012Validator(found).validate({"_target_": "my_package.shout.Shout", "mark": "?"})
