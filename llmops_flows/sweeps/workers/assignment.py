"""Who gets which task next: what shares its first steps goes to one worker, and nobody is idle while others wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise


class Turns:
    """The numbers of tasks that still have to be done, handed out to workers 0, 1, 2 …

    Args:
        paths: for each task, what it does step by step; tasks that begin alike share the work of these steps.
        workers: how many there are.
    """

    def __init__(self, paths: Sequence[Sequence[str]], workers: int) -> None:
        ordered = alike_together(paths)
        bounds = [len(ordered) * n // workers for n in range(workers + 1)]
        self._shares = [deque(ordered[a:b]) for a, b in pairwise(bounds)]
        self._late: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._late) + sum(map(len, self._shares))

    def take(self, worker: int) -> int | None:
        """The next task of a worker: from its own share, else from the end of the largest; None when all are out."""
        if self._shares[worker]:
            return self._shares[worker].popleft()
        largest = max(self._shares, key=len)
        if largest:
            return largest.pop()
        return self._late.popleft() if self._late else None

    def again(self, task: int) -> None:
        """Have a task done once more, after all others: then it has the machine more for itself."""
        self._late.append(task)


def alike_together(paths: Sequence[Sequence[str]]) -> list[int]:
    """The tasks, those that begin alike side by side; what comes first stays first."""
    seen: dict[tuple[str, ...], int] = {}
    places = [[seen.setdefault(tuple(path[: depth + 1]), len(seen)) for depth in range(len(path))] for path in paths]
    return sorted(range(len(paths)), key=places.__getitem__)
