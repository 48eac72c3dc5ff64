"""Reads the questions of a run from JSON Lines, draws a seeded sample, and creates records."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.record import Record
from llmops_flows.text.suggestions import did_you_mean

MAX_PROBLEMS = 20
MAX_ROW_CHARS = 10_000_000
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "id": ((str, int), "text"),
    "question": ((str,), "text"),
    "reference": ((str,), "text"),
    "gold": ((list,), "a list of page ids"),
    "answerable": ((bool,), "true or false"),
}


class Questions(BaseModel):
    """Which questions a run answers.

    Attributes:
        path: a JSON Lines file; each row has the flow's inputs and what evaluators need (reference, gold, answerable).
        limit: size of the random sample; None for all.
        seed: makes the sample repeatable.
        unanswerable: share of the sample with `answerable: false`; None does not control it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str | None = None
    limit: int | None = Field(default=20, ge=1)
    seed: int = 0
    unanswerable: float | None = Field(default=None, ge=0, le=1)

    def rows(self, inputs: Sequence[str] = ("question",)) -> list[dict[str, Any]]:
        """The sampled rows, in the order of the file. A row without an id gets its number in the file.

        Args:
            inputs: the slots that the caller of the flow fills; every row must have them.

        Raises:
            ConfigError: the file is missing or empty, or rows are invalid: each with its line.
        """
        if self.path is None:
            raise ConfigError(
                Problem("a question is required", key="questions.path", hint="set question=TEXT or questions.path=FILE")
            )
        rows = read(Path(self.path), inputs)
        return rows if self.limit is None or self.limit >= len(rows) else self._draw(rows, self.limit)

    def _draw(self, rows: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
        """A larger limit draws the same questions and more, so that only the new ones are computed."""
        if self.unanswerable is None:
            return [rows[n] for n in sorted(self._shuffled(range(len(rows)))[:limit])]
        unanswerable = [n for n, row in enumerate(rows) if row.get("answerable") is False]
        answerable = [n for n, row in enumerate(rows) if row.get("answerable") is not False]
        count = min(len(unanswerable), round(limit * self.unanswerable), limit)
        drawn = [*self._shuffled(unanswerable)[:count], *self._shuffled(answerable)[: limit - count]]
        return [rows[n] for n in sorted(drawn)]

    def _shuffled(self, numbers: Sequence[int]) -> list[int]:
        return random.Random(self.seed).sample(numbers, len(numbers))


def records(rows: list[dict[str, Any]], samples: int = 1) -> list[Record]:
    """A record for each row and sample number; the row's `id` is its name."""
    numbers: list[int | None] = [None] if samples == 1 else list(range(samples))
    result = []
    for position, row in enumerate(rows):
        name = str(row.get("id", f"q{position}"))
        values = {key: value for key, value in row.items() if key != "id"}
        result += [Record.of(name if n is None else f"{name}.{n}", values, sample=n) for n in numbers]
    return result


def read(path: Path, inputs: Sequence[str]) -> list[dict[str, Any]]:
    """Every row of a JSON Lines file; see `Questions.rows`. The rows are shared: do not change them."""
    try:
        status = path.stat()
    except OSError:
        raise _error(f"file {str(path)!r} not found") from None
    return list(_read(path, tuple(inputs), (status.st_mtime_ns, status.st_size, status.st_ino)))


@lru_cache(maxsize=4)
def _read(path: Path, inputs: tuple[str, ...], state: tuple[int, ...]) -> list[dict[str, Any]]:
    """The rows of a file in this state, cached because the points of a sweep often share their questions."""
    if not path.is_file():
        raise _error(f"file {str(path)!r} not found")
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    lines: dict[str, int] = {}
    for number, line in _lines(path):
        row, row_problems = _row(line, inputs)
        if row is not None:
            name = str(row.setdefault("id", f"q{len(rows)}"))
            if name in lines:
                row_problems = [*row_problems, f"the id {name!r} is also in line {lines[name]}"]
            lines.setdefault(name, number)
            rows.append(row)
        problems += [Problem(what, "questions.path", f"{path}:{number}") for what in row_problems]
        if len(problems) > MAX_PROBLEMS:
            problems.append(Problem("further rows are invalid too", "questions.path", str(path)))
            break
    if problems:
        raise ConfigError(problems)
    if not rows:
        raise _error(f"{str(path)!r} contains no question")
    return rows


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file that are not blank, with their numbers. A byte order mark is skipped."""
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except UnicodeDecodeError:
        raise _error("the line is not UTF-8 text", f"{path}:{number + 1}") from None
    except OSError as error:
        raise _error(f"{str(path)!r} cannot be read: {error.strerror or error}") from None


def _row(line: str, inputs: Sequence[str]) -> tuple[dict[str, Any] | None, list[str]]:
    """A row and its problems."""
    if len(line) > MAX_ROW_CHARS:
        return None, [f"the line has {len(line):,} characters, at most {MAX_ROW_CHARS:,} are allowed"]
    try:
        row = json.loads(line, parse_constant=_reject_constant)
    except RecursionError:
        return None, ["the line is nested too deep"]
    except ValueError as error:
        return None, [f"the line is not valid JSON: {error}"]
    if not isinstance(row, dict):
        return None, ["the line is not a JSON object"]
    problems = [f"{name!r} is missing; {did_you_mean(name, row)}" for name in inputs if row.get(name) is None]
    for name, (kinds, expected) in _KINDS.items():
        value = row.get(name)
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            problems.append(f"{name} must be {expected}, got {value!r}"[:300])
    if isinstance(row.get("question"), str) and not row["question"].strip():
        problems.append("the question is empty")
    if isinstance(row.get("gold"), list) and not all(isinstance(page, str) for page in row["gold"]):
        problems.append("gold must be a list of page ids, as text")
    return row, problems


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _error(what: str, where: str = "") -> ConfigError:
    return ConfigError(Problem(what, key="questions.path", where=where))
