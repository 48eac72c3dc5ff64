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
    line.partition("  #")[0].strip()
    for _, text in blocks("bash")
    for line in text.splitlines()
    if line.startswith("python -m llmops_flows")
]
QUICK = ("extractive", " check ", " explain ", "+debug=fast", " ship")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_docs_runs(command: str, tmp_path: Path) -> None:
    """What needs a key or the embedded model is only checked here; tests/end_to_end runs such commands."""
    words = shlex.split(command)[1:]
    if not any(mark in command for mark in QUICK):
        words.insert(2, "check")
    env = {**os.environ, "OPENAI_API_KEY": "not-a-key-but-something", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=110, env=env)
    assert done.returncode == 0, done.stderr


Step = tuple[str, str, int]


FILE = re.compile(r"`([\w./-]+\.\w+)`:\n\n```\w+\n(.*?)```", re.DOTALL)


def lay_out(page: str, folder: Path) -> None:
    """The files that a page shows: a block behind a line that ends with the file's name and a colon."""
    texts = [path.read_text() for path in PAGES if path.name == page]
    for name, content in (file for text in texts for file in FILE.findall(text)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def sessions() -> list[tuple[str, list[Step]]]:
    """For each console block its page and its commands: command, what it prints, exit code.

    The commands of one block run in one folder, beside the files that the page shows (`lay_out`). In what is printed,
    `…` stands for any text. `# exit code N` behind a command says how it ends (otherwise 0).
    """
    found = []
    for page, text in blocks("console"):
        steps = []
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            command, _, code = command.partition("   # exit code ")
            steps.append((command.strip(), printed, int(code or 0)))
        found.append((page, steps))
    return found


def _slow(steps: list[Step]) -> bool:
    """Ray alone takes longer to start than most blocks to run."""
    return any("launcher=ray" in command for command, _, _ in steps)


@pytest.mark.parametrize(
    ("page", "steps"),
    [pytest.param(*session, marks=[pytest.mark.slow] if _slow(session[1]) else []) for session in sessions()],
)
def test_a_console_block_shows_what_is_printed(page: str, steps: list[Step], tmp_path: Path) -> None:
    lay_out(page, tmp_path)
    for command, printed, code in steps:
        words = [sys.executable if word == "python" else word for word in shlex.split(command)]
        done = subprocess.run(
            words,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=110,
            env={**os.environ, "COLUMNS": "120"},
        )
        pieces = [re.escape(" ".join(piece.split())) for piece in printed.split("…")]
        assert re.search(r"\s?.*?\s?".join(pieces), " ".join(done.stdout.split())), done.stdout
        assert done.returncode == code
