"""Every code block of the README and the docs does what the page says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from .support.console import Command, blocks, commands

ROOT = Path(__file__).parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
}
ONE_SESSION = ("README.md", "docs/tutorial.md")
"""Pages whose console blocks continue each other. On other pages, each block starts in a new folder."""
QUICK = ("extractive", " check ", " explain ", "+debug=fast", " ship")
FILE = re.compile(r"`([\w./-]+\.\w+)`:\n\n```\w+\n(.*?)```", re.DOTALL)


def all_blocks(language: str) -> list[tuple[str, str]]:
    return [(page, block) for page, text in sorted(PAGES.items()) for block in blocks(text, language)]


@pytest.mark.parametrize(("page", "program"), all_blocks("python"))
def test_a_python_block_runs(page: str, program: str, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=100, env=dict(os.environ)
    )
    assert result.returncode == 0, result.stderr


def bash_commands() -> list[str]:
    lines = [line.partition("  #")[0].strip() for _, block in all_blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line.startswith("python -m llmops_flows")]


@pytest.mark.parametrize("command", bash_commands())
def test_a_command_of_the_docs_runs(command: str, tmp_path: Path) -> None:
    """A command that needs a key or the embedded model is only checked; tests/end_to_end runs such commands."""
    words = shlex.split(command)[1:]
    if not any(mark in command for mark in QUICK):
        words.insert(2, "check")
    env = {**os.environ, "OPENAI_API_KEY": "not-a-key-but-something", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    result = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=110, env=env
    )
    assert result.returncode == 0, result.stderr


def write_files(page: str, folder: Path) -> None:
    """Write the files that a page shows: a block below a line that ends with the name of the file and a colon."""
    for name, content in FILE.findall(PAGES[page]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def sessions() -> list[tuple[str, list[Command]]]:
    """The commands that run in one folder, with their page."""
    result = [(page, commands(block)) for page, block in all_blocks("console") if page not in ONE_SESSION]
    return result + [
        (page, [c for block in blocks(PAGES[page], "console") for c in commands(block)]) for page in ONE_SESSION
    ]


def needs_ray(session: list[Command]) -> bool:
    return any("launcher=ray" in command.line for command in session)


@pytest.mark.parametrize(
    ("page", "session"),
    [pytest.param(*item, marks=[pytest.mark.slow] if needs_ray(item[1]) else []) for item in sessions()],
)
def test_a_console_session_prints_what_the_page_shows(page: str, session: list[Command], tmp_path: Path) -> None:
    write_files(page, tmp_path)
    for command in session:
        command.check(tmp_path)
