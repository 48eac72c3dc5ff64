"""Assign tasks to workers. Tasks that share work go to one worker, and no worker is idle while tasks are queued."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise


class TaskQueue:
    """The positions of the remaining tasks, for workers 0, 1, 2 …

    Args:
        paths: the steps of each task; tasks with a common prefix share the work of these steps.
        workers: number of workers.
    """

    def __init__(self, paths: Sequence[Sequence[str]], workers: int) -> None:
        order = shared_prefix_order(paths)
        bounds = [len(order) * n // workers for n in range(workers + 1)]
        self._shares = [deque(order[start:end]) for start, end in pairwise(bounds)]
        self._retries: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._retries) + sum(map(len, self._shares))

    def take(self, worker: int) -> int | None:
        """The next task of a worker: from its share, else from the end of the largest share; None if none is left."""
        if self._shares[worker]:
            return self._shares[worker].popleft()
        largest = max(self._shares, key=len)
        if largest:
            return largest.pop()
        return self._retries.popleft() if self._retries else None

    def retry(self, task: int) -> None:
        """Queue a task again, after all others, when fewer tasks run at the same time."""
        self._retries.append(task)


def shared_prefix_order(paths: Sequence[Sequence[str]]) -> list[int]:
    """The positions of the tasks, ordered so that tasks with a common prefix are neighbors; stable otherwise."""
    seen: dict[tuple[str, ...], int] = {}
    ranks = [[seen.setdefault(tuple(path[: depth + 1]), len(seen)) for depth in range(len(path))] for path in paths]
    return sorted(range(len(paths)), key=ranks.__getitem__)
