"""The leaderboard for the terminal: a table that fits its width, and what it says in plain sentences."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_flows.core.plural import plural

from ..leaderboard import Leaderboard, LeaderboardRow
from ..metrics import lower_is_better

if TYPE_CHECKING:
    from rich.table import Table

_STYLES = {"better": "green", "worse": "red", "no real difference": "dim", "no real diff.": "dim", "baseline": "bold"}
_NARROWEST = 5
_LONG = 12
_GAP = 2


@dataclass
class _LeaderboardColumn:
    """A column of text; those of the highest `rank` go first when there is no room."""

    head: str
    cells: list[str]
    rank: int = 0
    right: bool = True
    axis: bool = False
    room: int = 0

    @property
    def heads(self) -> list[str]:
        """The head in lines: a long name breaks once, at the underscore nearest to its middle."""
        breaks = [n for n, char in enumerate(self.head) if char == "_"]
        if len(self.head) < _LONG or not breaks:
            return [self.head]
        middle = min(breaks, key=lambda n: abs(n - len(self.head) / 2))
        return [self.head[: middle + 1], self.head[middle + 1 :]]

    @property
    def width(self) -> int:
        return self.room or max(len(cell) for cell in [*self.heads, *self.cells])


def format_leaderboard(found: Leaderboard, *, width: int = 160, color: bool = False) -> str:
    """The board as text, no line wider than `width` characters (60 at least)."""
    from rich.console import Console

    out = io.StringIO()
    console = Console(
        file=out, width=max(width, 60), force_terminal=color, color_system="standard" if color else None,
        highlight=False, markup=False, emoji=False, legacy_windows=False,
    )  # fmt: skip
    columns, left_out = _fitted(_columns(found), max(width, 60))
    console.print(_head(found))
    console.print(_table(found, columns))
    console.print()
    for sentence in [*summary_sentences(found), *_missing(left_out)]:
        console.print(sentence)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _head(found: Leaderboard) -> str:
    by = f", sorted by {found.metric}" if found.metric else ""
    less = " (less is better)" if lower_is_better(found.metric) else ""
    size = f"{plural(len(found.rows), 'variant')} x {plural(found.questions, 'question')}"
    return f"{found.flow or 'sweep'}: {size}{by}{less}"


def summary_sentences(found: Leaderboard) -> list[str]:
    """What the board says: which is best, how sure that is, what is as good and cheaper, and what went wrong."""
    said = [*_best(found), *_as_good(found)] if found.metric else ["nothing was scored"]
    broken = [line for line in found.rows if line.errors]
    if broken:
        count = sum(line.errors for line in broken)
        said.append(f"errors: {plural(count, 'answer')} in {_few(broken)}; they are no scores")
    said += _skipped(found)
    stopped = [line for line in found.rows if line.stopped]
    if stopped:
        said.append(f"stopped early, worse than the best beyond doubt: {_few(stopped)}")
    if found.front:
        said.append("* best of the search: no other point is better in everything that it was after")
    return said + [f"point {name} has no results: {why}" for name, why in found.lost.items()]


def _best(found: Leaderboard) -> list[str]:
    best, base, metric = found.rows[0], found.baseline_row, found.metric
    score = best.scores[metric]
    if score.mean is None:
        return [f"no variant has a score by {metric}"]
    said = [f"best: {_called(found, best)}: {metric} {score.mean:.3f}{_interval(score.low, score.high)}"]
    if best is base:
        return [f"{said[0]}; it is the baseline"] if len(found.rows) > 1 else said
    difference = best.against[metric]
    sure = f", p {_p(difference.adjusted)} after correction" if difference.adjusted is not None else ""
    step = "" if difference.mean is None else f", {difference.mean:+.3f}{_interval(difference.low, difference.high)}"
    asked = plural(difference.n, "question")
    return [*said, f"against the baseline {base.name}: {difference.verdict}{step} on {asked}{sure}"]


def _as_good(found: Leaderboard) -> list[str]:
    equal = [line for line in found.rows if line.tied]
    if len(equal) < 2:
        return []
    said = f"no real difference to the best: {_few(equal[1:])}"
    cheapest = min(equal, key=lambda line: line.cost_usd)
    fastest = min(equal, key=lambda line: line.p50 if line.p50 is not None else float("inf"))
    if cheapest.cost_usd < equal[0].cost_usd:
        said += f"; the cheapest of them is {cheapest.name} ({_usd(cheapest.cost_usd)} USD)"
    if fastest is not equal[0] and fastest.p50 is not None:
        said += f"; the fastest is {fastest.name} (p50 {_seconds(fastest.p50)} s)"
    return [said]


def _skipped(found: Leaderboard) -> list[str]:
    if not found.metric:
        return []
    scores = [line.scores[found.metric] for line in found.rows]
    unscored, faulty = max(score.unscored for score in scores), sum(score.faulty for score in scores)
    said = []
    if unscored:
        said.append(f"skipped: {found.metric} says nothing about up to {plural(unscored, 'answer')} of a variant")
    if faulty:
        one, many = f"score by {found.metric} is no finite number", f"scores by {found.metric} are no finite numbers"
        said.append(f"{plural(faulty, one, many)}: counted as errors")
    return said


def _missing(left_out: Sequence[str]) -> list[str]:
    return [f"no room for: {', '.join(left_out)} (--csv and --json have everything)"] if left_out else []


# -- the table -------------------------------------------------------------------------------------------------------


def _columns(found: Leaderboard) -> list[_LeaderboardColumn]:
    lines, metric = found.rows, found.metric
    columns = [_LeaderboardColumn("#", [f"{'*' if line.name in found.front else ''}{line.name}" for line in lines])]
    columns += [
        _LeaderboardColumn(axis.key, [line.values[n] for line in lines], right=False, axis=True)
        for n, axis in enumerate(found.keys)
    ]
    if metric:
        columns += [
            _LeaderboardColumn(metric, [_mean(line, metric) for line in lines]),
            _LeaderboardColumn("95 %", [_range(line, metric) for line in lines], rank=1),
            _LeaderboardColumn(f"vs {found.baseline_row.name}", [_step(line, metric) for line in lines]),
            _LeaderboardColumn("verdict", [line.against[metric].verdict for line in lines], right=False),
        ]
    columns += [
        _LeaderboardColumn("errors", [str(line.errors or "") for line in lines], rank=2),
        _LeaderboardColumn("p50 s", [_seconds(line.p50) for line in lines], rank=3),
        _LeaderboardColumn("USD", [_usd(line.cost_usd) if line.cost_usd else "" for line in lines], rank=4),
        _LeaderboardColumn("known", [f"{line.known_share:.0%}" for line in lines], rank=5),
        _LeaderboardColumn("p95 s", [_seconds(line.p95) for line in lines], rank=6),
        _LeaderboardColumn("tokens", [_tokens(line) for line in lines], rank=7),
    ]
    others = [m for m in found.metrics if m != metric]
    columns += [_LeaderboardColumn(m, [_mean(line, m) for line in lines], rank=8 + n) for n, m in enumerate(others)]
    return [column for column in columns if any(column.cells)]


def _fitted(columns: list[_LeaderboardColumn], width: int) -> tuple[list[_LeaderboardColumn], list[str]]:
    """Columns that fit: the less important ones left out (their heads are returned), config values cut at last."""
    kept, left_out = list(columns), list[str]()
    if _width(kept) > width:
        for column in kept:
            if column.head == "verdict":
                column.cells = ["no real diff." if c == "no real difference" else c for c in column.cells]
            if column.head == "95 %":
                column.cells = [cell.replace(" to ", "\N{EN DASH}") for cell in column.cells]
    while _width(kept) > width and any(column.rank for column in kept):
        last = max(kept, key=lambda column: column.rank)
        kept.remove(last)
        left_out.insert(0, last.head)
    while _width(kept) > width:
        widest = max((c for c in kept if c.axis or c.head not in ("#", "verdict")), key=lambda c: c.width)
        if widest.width <= _NARROWEST:
            drop = next((c for c in reversed(kept) if c.axis), None)
            if drop is None:
                break
            kept.remove(drop)
            left_out.append(drop.head)
        widest.room = widest.width - 1
    return kept, left_out


def _width(columns: Sequence[_LeaderboardColumn]) -> int:
    return sum(column.width for column in columns) + _GAP * (len(columns) - 1)


def _table(found: Leaderboard, columns: Sequence[_LeaderboardColumn]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        head = Text("\n".join(_cut(part, column.width) for part in column.heads))
        side = "right" if column.right else "left"
        table.add_column(head, justify=side, no_wrap=True, width=column.width)  # type: ignore[arg-type]
    for n, line in enumerate(found.rows):
        cells = []
        for column in columns:
            cell = column.cells[n]
            style = _STYLES.get(cell, "") if column.head == "verdict" else "red" if column.head == "errors" else ""
            cells.append(Text(_cut(cell, column.width), style=style))
        table.add_row(*cells, style="bold" if line.rank == 1 else "")
    return table


def _cut(value: str, width: int) -> str:
    return value if len(value) <= width else value[: width - 1] + "…"


def _called(found: Leaderboard, line: LeaderboardRow) -> str:
    """A variant by its name and what sets it apart."""
    apart = ", ".join(f"{axis.key}={_cut(value, 40)}" for axis, value in zip(found.keys, line.values, strict=True))
    return f"{line.name} ({_cut(apart, 120)})" if apart else line.name


def _few(lines: Sequence[LeaderboardRow], most: int = 8) -> str:
    names = ", ".join(line.name for line in lines[:most])
    return names + (f" and {len(lines) - most} more" if len(lines) > most else "")


def _mean(line: LeaderboardRow, metric: str) -> str:
    mean = line.scores[metric].mean
    return "n/a" if mean is None else f"{mean:.3f}"


def _range(line: LeaderboardRow, metric: str) -> str:
    score = line.scores[metric]
    return "" if score.low is None or score.high is None else f"{score.low:.2f} to {score.high:.2f}"


def _step(line: LeaderboardRow, metric: str) -> str:
    difference = line.against[metric]
    return "" if difference.mean is None or difference.verdict == "baseline" else f"{difference.mean:+.3f}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" (95 %: {low:.3f} to {high:.3f})"


def _p(value: float | None) -> str:
    return "n/a" if value is None else "< 0.0001" if value < 0.0001 else f"{value:.2g}"


def _seconds(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}" if value < 1 else f"{value:.1f}"


def _usd(value: float) -> str:
    return f"{value:.4f}" if value < 1 else f"{value:.2f}"


def _tokens(line: LeaderboardRow) -> str:
    count = line.input_tokens + line.output_tokens
    return "" if not count else f"{count / 1000:.1f}k" if count >= 10_000 else str(count)
