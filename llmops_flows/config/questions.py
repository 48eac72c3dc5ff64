"""The questions of a run: read from JSON lines, a seeded sample of them taken, turned into records."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from llmops_flows.core.errors import ConfigError, Fault
from llmops_flows.core.record import Record


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

    def rows(self) -> list[dict[str, Any]]:
        """The chosen rows, in the order of the file.

        Raises:
            ConfigError: the file is not there, or a line is no JSON object.
        """
        if self.path is None:
            raise ConfigError(Fault("no questions", key="questions.path", mend="give question=… or questions.path=…"))
        rows = list(_read(Path(self.path)))
        return rows if self.limit is None or self.limit >= len(rows) else self._draw(rows, self.limit)

    def _draw(self, rows: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
        chance = random.Random(self.seed)
        numbers = range(len(rows))
        if self.unanswerable is None:
            return [rows[n] for n in sorted(chance.sample(numbers, limit))]
        bad = [n for n in numbers if rows[n].get("answerable") is False]
        good = [n for n in numbers if rows[n].get("answerable") is not False]
        wanted = min(len(bad), round(limit * self.unanswerable), limit)
        chosen = chance.sample(bad, wanted) + chance.sample(good, min(len(good), limit - wanted))
        return [rows[n] for n in sorted(chosen)]


def records(rows: list[dict[str, Any]], samples: int = 1) -> list[Record]:
    """A record for each row and sample number; the row's `id` is its name."""
    drawn: list[int | None] = [None] if samples == 1 else list(range(samples))
    found = []
    for position, row in enumerate(rows):
        name = str(row.get("id", f"q{position}"))
        values = {key: value for key, value in row.items() if key != "id"}
        found += [Record.of(name if n is None else f"{name}.{n}", values, sample=n) for n in drawn]
    return found


def _read(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise ConfigError(Fault(f"there is no file {str(path)!r}", key="questions.path"))
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ConfigError(Fault(f"this line is no JSON: {error}", "questions.path", f"{path}:{number}")) from None
        if not isinstance(row, dict):
            raise ConfigError(Fault("this line is no JSON object", "questions.path", f"{path}:{number}"))
        yield row
