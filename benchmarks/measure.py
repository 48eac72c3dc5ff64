"""How the benchmarks measure: commands as whole processes, functions in process, always in turns."""

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
    """Run a command to its end. Raises RuntimeError with its output when it fails."""
    begun = time.perf_counter()
    child = subprocess.Popen(
        command, env={**_environment(), **(env or {})}, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert child.stdout is not None
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}:\n{output.decode()[-2000:]}")
    return Cost(time.perf_counter() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def _environment() -> dict[str, str]:
    """As on a user's machine: what was compiled once is not compiled again."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def processes(commands: Mapping[str, Sequence[str]], *, rounds: int, **options: object) -> dict[str, Cost]:
    """The median cost of each command; they take turns, so that a noisy machine is noisy for all."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            costs[name].append(process(command, **options))  # type: ignore[arg-type]
    return {
        name: Cost(*(statistics.median(getattr(c, field) for c in seen) for field in ("wall", "cpu", "peak")))
        for name, seen in costs.items()
    }


def functions(candidates: Mapping[str, Callable[[], object]], *, rounds: int, calls: int) -> dict[str, float]:
    """Seconds a call of each function: the least of the rounds, which take turns."""
    best = dict.fromkeys(candidates, float("inf"))
    for _ in range(rounds):
        for name, function in candidates.items():
            begun = time.perf_counter()
            for _ in range(calls):
                function()
            best[name] = min(best[name], (time.perf_counter() - begun) / calls)
    return best


def python(*arguments: str) -> list[str]:
    """A command that runs this interpreter."""
    return [sys.executable, *arguments]


def say(title: str, rows: Sequence[tuple[str, str]], *, goal: str = "") -> None:
    """Print one result: figures, and the ratio that counts."""
    print(f"\n{title}" + (f"   (goal: {goal})" if goal else ""))
    for name, figure in rows:
        print(f"  {name:<58} {figure}")
    sys.stdout.flush()
