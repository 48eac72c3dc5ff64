"""`model=replay`: recorded answers, for tests and dry runs."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from llmops_flows.core.errors import BackendError
from llmops_flows.core.roles import Model
from llmops_flows.core.stage import Outcome


class Replay(Model):
    """Answers from a JSON Lines file of {"question", "answer"} rows. An unknown question is an error.

    Attributes:
        path: the file, such as the results.jsonl of a run.
    """

    name: str = "replay"
    path: Path

    def problems(self) -> list[str]:
        if not self.path.is_file():
            return [f"file not found: {str(self.path)!r}; set model.path"]
        try:
            self._answers  # read and cached here
        except (OSError, ValueError) as error:
            return [f"{str(self.path)!r} cannot be read: {error}; set model.path"]
        return []

    @cached_property
    def _answers(self) -> dict[str, str]:
        answers = {}
        for number, line in enumerate(self.path.read_text(encoding="utf-8").split("\n"), 1):
            row = _row(line, number) if line.strip() else {}
            if row.get("answer") is not None:
                answers[row["question"]] = row["answer"]
        return answers

    def run(self, question: str) -> Outcome:
        if question not in self._answers:
            raise BackendError(f"{self.path.name} has no answer to {question!r}")
        return Outcome(self._answers[question], notes={"model": self.name, "finish_reason": "stop"})


def _row(line: str, number: int) -> dict[str, Any]:
    """The question and answer of a line. Raises ValueError if it has none."""
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict) or "question" not in row:
        raise ValueError(f'line {number} is not a row {{"question": …, "answer": …}}')
    return row
