"""Models for tests and dry runs: one says what it was asked, one what a file says."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from llmops_flows.core.errors import BackendError
from llmops_flows.core.roles import Model
from llmops_flows.core.stage import Outcome


class Replay(Model):
    """Answers from a file of JSON lines {"question", "answer"}; a question that is not there is an error.

    Attributes:
        path: the file; the rows of a run's results.jsonl fit.
    """

    name: str = "replay"
    path: Path

    def problems(self) -> list[str]:
        if not self.path.is_file():
            return [f"there is no file {str(self.path)!r}: mend model.path"]
        try:
            self._answers  # read once, here
        except (OSError, ValueError) as error:
            return [f"{str(self.path)!r} cannot be read ({error}): mend model.path"]
        return []

    @cached_property
    def _answers(self) -> dict[str, str]:
        found = {}
        for number, line in enumerate(self.path.read_text(encoding="utf-8").splitlines(), 1):
            row = _row(line, number) if line.strip() else {}
            if row.get("answer") is not None:
                found[row["question"]] = row["answer"]
        return found

    def run(self, question: str) -> Outcome:
        if question not in self._answers:
            raise BackendError(f"{self.path.name} has no answer to {question!r}")
        return Outcome(self._answers[question], notes={"model": self.name, "finish_reason": "stop"})


def _row(line: str, number: int) -> dict[str, Any]:
    """A line's question and answer. Raises ValueError: it is no JSON, or holds none."""
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict) or "question" not in row:
        raise ValueError(f'line {number} is no row {{"question": …, "answer": …}}')
    return row
