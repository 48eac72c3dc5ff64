"""Measurement for the benchmarks: commands as processes, and functions in this process. Candidates take turns."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """One process: wall and CPU seconds (children included), peak memory in MiB."""

    wall: float
    cpu: float
    peak: float


def process(command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str | None = None) -> Cost:
    """Run a command. Raises RuntimeError with its output if it fails."""
    start = time.perf_counter()
    child = subprocess.Popen(
        command, env={**_environment(), **(env or {})}, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert child.stdout is not None
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with exit code {child.returncode}:\n{output.decode()[-2000:]}")
    return Cost(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def _environment() -> dict[str, str]:
    """The environment with bytecode caching, as on the machine of a user."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def processes(commands: Mapping[str, Sequence[str]], *, rounds: int, **options: object) -> dict[str, Cost]:
    """The median cost of each command. They take turns, so that noise affects all of them."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            costs[name].append(process(command, **options))  # type: ignore[arg-type]
    return {
        name: Cost(*(statistics.median(getattr(c, field) for c in runs) for field in ("wall", "cpu", "peak")))
        for name, runs in costs.items()
    }


def functions(candidates: Mapping[str, Callable[[], object]], *, rounds: int, calls: int) -> dict[str, float]:
    """Seconds per call of each function: the minimum of the rounds, which take turns."""
    best = dict.fromkeys(candidates, float("inf"))
    for _ in range(rounds):
        for name, function in candidates.items():
            start = time.perf_counter()
            for _ in range(calls):
                function()
            best[name] = min(best[name], (time.perf_counter() - start) / calls)
    return best


def python(*arguments: str) -> list[str]:
    """A command with this interpreter."""
    return [sys.executable, *arguments]


def print_result(title: str, rows: Sequence[tuple[str, str]], *, goal: str = "") -> None:
    """Print the figures of one result, and its goal."""
    print(f"\n{title}" + (f"   (goal: {goal})" if goal else ""))
    for name, figure in rows:
        print(f"  {name:<58} {figure}")
    sys.stdout.flush()
