"""The questions of a run: read from JSON lines, a seeded sample of them taken, turned into records."""

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
    """Which questions a run asks.

    Attributes:
        path: JSON lines; each row holds the flow's inputs, and what evaluators need (reference, gold, answerable).
        limit: how many of them, drawn at random; None for all.
        seed: makes the draw repeatable.
        unanswerable: share of the sample that is drawn from rows with `answerable: false`; None draws blindly.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str | None = None
    limit: int | None = Field(default=20, ge=1)
    seed: int = 0
    unanswerable: float | None = Field(default=None, ge=0, le=1)

    def rows(self, inputs: Sequence[str] = ("question",)) -> list[dict[str, Any]]:
        """The chosen rows, in the order of the file. A row without an id is named by its place in the file.

        Args:
            inputs: what every row must hold: the slots that the flow's caller fills.

        Raises:
            ConfigError: the file is not there or holds no question, or rows are wrong: each with its line.
        """
        if self.path is None:
            raise ConfigError(Problem("no questions", key="questions.path", hint="give question=… or questions.path=…"))
        rows = read(Path(self.path), inputs)
        return rows if self.limit is None or self.limit >= len(rows) else self._draw(rows, self.limit)

    def _draw(self, rows: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
        """A larger limit draws the same questions and more, so that only the new ones have to be answered."""
        if self.unanswerable is None:
            return [rows[n] for n in sorted(self._shuffled(range(len(rows)))[:limit])]
        bad = [n for n, row in enumerate(rows) if row.get("answerable") is False]
        good = [n for n, row in enumerate(rows) if row.get("answerable") is not False]
        wanted = min(len(bad), round(limit * self.unanswerable), limit)
        return [rows[n] for n in sorted([*self._shuffled(bad)[:wanted], *self._shuffled(good)[: limit - wanted]])]

    def _shuffled(self, numbers: Sequence[int]) -> list[int]:
        return random.Random(self.seed).sample(numbers, len(numbers))


def records(rows: list[dict[str, Any]], samples: int = 1) -> list[Record]:
    """A record for each row and sample number; the row's `id` is its name."""
    drawn: list[int | None] = [None] if samples == 1 else list(range(samples))
    found = []
    for position, row in enumerate(rows):
        name = str(row.get("id", f"q{position}"))
        values = {key: value for key, value in row.items() if key != "id"}
        found += [Record.of(name if n is None else f"{name}.{n}", values, sample=n) for n in drawn]
    return found


def read(path: Path, inputs: Sequence[str]) -> list[dict[str, Any]]:
    """Every row of a file of JSON lines; see `Questions.rows`. The rows are shared: they are not to be changed."""
    try:
        found = path.stat()
    except OSError:
        raise _wrong(f"file {str(path)!r} not found") from None
    return list(_read(path, tuple(inputs), (found.st_mtime_ns, found.st_size, found.st_ino)))


@lru_cache(maxsize=4)
def _read(path: Path, inputs: tuple[str, ...], state: tuple[int, ...]) -> list[dict[str, Any]]:
    """The rows of a file in that state: the points of a sweep mostly ask the same questions."""
    if not path.is_file():
        raise _wrong(f"file {str(path)!r} not found")
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    lines: dict[str, int] = {}
    for number, line in _lines(path):
        row, wrong = _row(line, inputs)
        if row is not None:
            name = str(row.setdefault("id", f"q{len(rows)}"))
            if name in lines:
                wrong = [*wrong, f"the id {name!r} stands in line {lines[name]} too"]
            lines.setdefault(name, number)
            rows.append(row)
        problems += [Problem(what, "questions.path", f"{path}:{number}") for what in wrong]
        if len(problems) > MAX_PROBLEMS:
            problems.append(Problem("and more after that", "questions.path", str(path)))
            break
    if problems:
        raise ConfigError(problems)
    if not rows:
        raise _wrong(f"{str(path)!r} holds no question")
    return rows


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file that are not blank, with their numbers; a byte order mark is no part of the text."""
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except UnicodeDecodeError:
        raise _wrong("this line is not UTF-8 text", f"{path}:{number + 1}") from None
    except OSError as error:
        raise _wrong(f"{str(path)!r} cannot be read: {error.strerror or error}") from None


def _row(line: str, inputs: Sequence[str]) -> tuple[dict[str, Any] | None, list[str]]:
    """A row and what is wrong with it."""
    if len(line) > MAX_ROW_CHARS:
        return None, [f"this line has {len(line):,} characters; a row has at most {MAX_ROW_CHARS:,}"]
    try:
        row = json.loads(line, parse_constant=_no_number)
    except RecursionError:
        return None, ["this line nests too deep"]
    except ValueError as error:
        return None, [f"this line is no JSON: {error}"]
    if not isinstance(row, dict):
        return None, ["this line is no JSON object"]
    wrong = [f"{name!r} is missing; {did_you_mean(name, row)}" for name in inputs if row.get(name) is None]
    for name, (kinds, told) in _KINDS.items():
        value = row.get(name)
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            wrong.append(f"{name} must be {told}; it is {value!r}"[:300])
    if isinstance(row.get("question"), str) and not row["question"].strip():
        wrong.append("the question is empty")
    if isinstance(row.get("gold"), list) and not all(isinstance(page, str) for page in row["gold"]):
        wrong.append("gold must be a list of page ids, as text")
    return row, wrong


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _wrong(what: str, where: str = "") -> ConfigError:
    return ConfigError(Problem(what, key="questions.path", where=where))
