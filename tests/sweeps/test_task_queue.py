"""Tasks that share work go to one worker, and no worker is idle while tasks wait."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmops_flows.sweeps.workers.task_queue import TaskQueue


def test_tasks_with_a_common_prefix_go_to_one_worker() -> None:
    paths = [[retriever, prompt] for prompt in "xyz" for retriever in "ab"]
    queue = TaskQueue(paths, 2)
    assert [[queue.take(worker) for _ in range(3)] for worker in (0, 1)] == [[0, 2, 4], [1, 3, 5]]


def test_an_idle_worker_takes_from_the_end_of_the_largest_share() -> None:
    queue = TaskQueue([["a"]] * 6, 2)
    assert [queue.take(0) for _ in range(4)] == [0, 1, 2, 5]
    assert queue.take(1) == 3


def test_retries_come_last() -> None:
    queue = TaskQueue([["a"], ["b"], ["c"]], 1)
    first = queue.take(0)
    assert first is not None
    queue.retry(first)
    assert [queue.take(0) for _ in range(4)] == [1, 2, 0, None]


@given(
    paths=st.lists(st.lists(st.sampled_from("abc"), max_size=3), max_size=30),
    workers=st.integers(1, 5),
    takers=st.lists(st.integers(0, 4), max_size=60),
)
def test_every_task_is_taken_once(paths: list[list[str]], workers: int, takers: list[int]) -> None:
    queue = TaskQueue(paths, workers)
    taken = [queue.take(taker % workers) for taker in takers]
    while len(queue):
        taken.append(queue.take(0))
    assert sorted(task for task in taken if task is not None) == list(range(len(paths)))
