"""Who gets which point: what begins alike goes to one worker, and nobody is idle while others wait."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmops_flows.sweeps.workers.task_queue import TaskQueue


def test_what_shares_its_first_steps_goes_to_one_worker() -> None:
    paths = [[retriever, prompt] for prompt in "xyz" for retriever in "ab"]
    queue = TaskQueue(paths, 2)
    assert [[queue.take(worker) for _ in range(3)] for worker in (0, 1)] == [[0, 2, 4], [1, 3, 5]]


def test_who_is_through_takes_from_the_end_of_whoever_has_most() -> None:
    queue = TaskQueue([["a"]] * 6, 2)
    assert [queue.take(0) for _ in range(4)] == [0, 1, 2, 5]
    assert queue.take(1) == 3


def test_what_is_tried_again_comes_last() -> None:
    queue = TaskQueue([["a"], ["b"], ["c"]], 1)
    first = queue.take(0)
    assert first is not None
    queue.retry(first)
    assert [queue.take(0) for _ in range(4)] == [1, 2, 0, None]


@given(
    paths=st.lists(st.lists(st.sampled_from("abc"), max_size=3), max_size=30),
    workers=st.integers(1, 5),
    asks=st.lists(st.integers(0, 4), max_size=60),
)
def test_every_task_is_given_out_once_whoever_asks(paths: list[list[str]], workers: int, asks: list[int]) -> None:
    queue = TaskQueue(paths, workers)
    given_out = [queue.take(ask % workers) for ask in asks]
    while len(queue):
        given_out.append(queue.take(0))
    assert sorted(task for task in given_out if task is not None) == list(range(len(paths)))
