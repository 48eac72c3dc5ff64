"""What the project publishes: the wheel, the source distribution, their metadata, and the CI that tests them."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOW: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
BUILD = "import sys; from hatchling import build; print(getattr(build, sys.argv[1])(sys.argv[2]))"


def build(hook: str, folder: Path) -> Path:
    """Call a build hook of PEP 517 in a process of its own, as pip does."""
    result = subprocess.run(
        [sys.executable, "-c", BUILD, hook, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert result.returncode == 0, result.stderr
    return folder / result.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    with zipfile.ZipFile(build("build_wheel", tmp_path_factory.mktemp("wheel"))) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    with tarfile.open(build("build_sdist", tmp_path_factory.mktemp("sdist"))) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def files(folder: str) -> set[str]:
    paths = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in paths}


def test_the_wheel_holds_the_package_its_types_and_its_config(wheel: set[str]) -> None:
    assert "llmops_flows/py.typed" in wheel
    assert files("llmops_flows") <= wheel
    assert {f"llmops_flows/{path}" for path in files("conf") | files("flows")} <= wheel


def test_the_wheel_holds_no_tests_and_no_scripts(wheel: set[str]) -> None:
    top = {name.partition("/")[0] for name in wheel}
    assert top == {"llmops_flows", f"llmops_flows-{PROJECT['version']}.dist-info"}


def test_the_source_distribution_builds_the_same_package(sdist: set[str]) -> None:
    assert files("llmops_flows") | files("conf") | files("flows") <= sdist
    assert {"llmops_flows/py.typed", "README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml"} <= sdist


def python_versions() -> list[str]:
    prefix = "Programming Language :: Python :: "
    names = [line.removeprefix(prefix) for line in PROJECT["classifiers"] if line.startswith(prefix)]
    return [name for name in names if re.fullmatch(r"3\.\d+", name)]


def test_ci_tests_every_python_version_of_the_classifiers() -> None:
    assert WORKFLOW["jobs"]["test"]["strategy"]["matrix"]["python-version"] == python_versions()
    assert PROJECT["requires-python"] == f">={python_versions()[0]}"


def test_ci_runs_the_script_that_runs_make_test() -> None:
    commands = [step.get("run") for step in WORKFLOW["jobs"]["test"]["steps"]]
    assert "bash .ci/run" in commands
    assert "\nmake test" in (ROOT / ".ci" / "run").read_text()


def test_ci_reads_the_repository_and_nothing_else() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in WORKFLOW["jobs"].values())


def test_ci_pins_its_actions_to_a_major_version() -> None:
    actions = [step["uses"] for job in WORKFLOW["jobs"].values() for step in job["steps"] if "uses" in step]
    assert actions and all(re.fullmatch(r"actions/[\w-]+@v\d+", action) for action in actions)


def test_the_changelog_has_an_entry_for_this_version() -> None:
    versions = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[:2] == ["Unreleased", PROJECT["version"]]


def test_pre_commit_hooks_run_from_the_environment_of_the_project() -> None:
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    makefile = (ROOT / "Makefile").read_text()
    for hook in repository["hooks"]:
        program = hook["entry"].split()[0]
        assert hook["language"] == "system"
        assert program.replace(".venv/bin", "$(BIN)") in makefile, f"make lint does not run {program}"
