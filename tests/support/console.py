"""Console blocks of Markdown pages: the commands they show, and whether these print what the page says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    return [block for name, block in BLOCK.findall(text) if name == language]


@dataclass(frozen=True)
class Command:
    """A line that begins with `$`, and the output below it.

    In the output, `…` stands for any text. `# exit code N` after the line says how the command ends (0 by default).
    """

    line: str
    output: str
    exit_code: int

    def check(self, folder: Path, **environment: str) -> None:
        """Run the command in a folder and compare what it prints, spaces aside."""
        words = [sys.executable if word == "python" else word for word in shlex.split(self.line)]
        result = subprocess.run(
            words,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=110,
            env={**os.environ, "COLUMNS": "120", **environment},
        )
        pieces = [re.escape(" ".join(piece.split())) for piece in self.output.split("…")]
        assert re.search(r"\s?.*?\s?".join(pieces), " ".join(result.stdout.split())), result.stdout
        assert result.returncode == self.exit_code


def commands(block: str) -> list[Command]:
    """The commands of a console block, in order."""
    result = []
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        line, _, output = part.partition("\n")
        line, _, code = line.partition("   # exit code ")
        result.append(Command(line.strip(), output, int(code or 0)))
    return result
