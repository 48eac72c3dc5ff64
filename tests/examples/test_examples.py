"""Every example runs as its README says: the test copies its folder and runs the commands of the README in order."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.console import blocks, commands

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
NAMES = sorted(readme.parent.name for readme in EXAMPLES.glob("*/README.md"))


@pytest.mark.parametrize("name", NAMES)
def test_an_example_does_what_its_readme_shows(name: str, tmp_path: Path) -> None:
    project, packages = tmp_path / name, tmp_path / "packages"
    shutil.copytree(EXAMPLES / name, project)
    # `pip install` installs into a folder of the test, with the build backend of this environment, offline.
    environment = {
        "PIP_TARGET": str(packages),
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads the value as that of `--build-isolation`
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PYTHONPATH": os.pathsep.join([str(packages), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    }
    readme = (project / "README.md").read_text()
    session = [command for block in blocks(readme, "console") for command in commands(block)]
    assert session
    for command in session:
        command.check(project, **environment)


def test_every_example_is_in_the_list() -> None:
    index = (EXAMPLES / "README.md").read_text()
    folders = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
    assert folders == NAMES
    assert [name for name in NAMES if f"({name}/README.md)" not in index] == []
