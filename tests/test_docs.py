"""Every block of the README and the docs does what it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    return [(p.name, text) for p in PAGES for kind, text in BLOCK.findall(p.read_text()) if kind == language]


@pytest.mark.parametrize(("page", "program"), blocks("python"))
def test_a_python_block_runs(page: str, program: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr


COMMANDS = [
    line
    for _, text in blocks("bash")
    for line in text.splitlines()
    if line.startswith("python -m llmops_flows")
    and ("extractive" in line or " check " in line or " explain " in line)
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_runs(command: str, tmp_path: Path) -> None:
    words = shlex.split(command)[1:]
    done = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=110, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr


def test_the_mistakes_of_the_readme_are_told_as_printed(tmp_path: Path) -> None:
    [(_, text)] = blocks("console")
    command, *printed = text.strip().splitlines()
    words = shlex.split(command.removeprefix("$ "))[1:]
    done = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, env=dict(os.environ)
    )
    assert done.returncode == 2
    for line in printed:
        assert line.removesuffix(" …") in done.stderr
