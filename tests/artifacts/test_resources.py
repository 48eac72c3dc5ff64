"""A model is loaded once per process and configuration, and let go when nothing needs it."""

from __future__ import annotations

import gc
import threading
import time

from llmops_flows import Part
from llmops_flows.artifacts.resources import shared


class Thing(Part):
    name: str


def test_equal_configurations_share_one() -> None:
    one, two = Thing(name="a"), Thing(name="a")
    assert shared(one, object) is shared(two, object)
    assert shared(Thing(name="b"), object) is not shared(one, object)


def test_many_threads_load_once() -> None:
    loads, part = [], Thing(name="slow")

    def load() -> int:
        time.sleep(0.05)
        loads.append(1)
        return len(loads)

    threads = [threading.Thread(target=lambda: shared(part, load)) for _ in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert loads == [1]


def test_it_is_closed_when_the_last_part_is_gone() -> None:
    closed: list[str] = []
    one, two = Thing(name="c"), Thing(name="c")
    for part in (one, two):
        shared(part, lambda: "value", close=closed.append)
    del one, part
    gc.collect()
    assert closed == []
    del two
    gc.collect()
    assert closed == ["value"]


def test_a_failed_load_is_tried_again() -> None:
    part, tries = Thing(name="d"), []

    def load() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("busy")
        return "here"

    try:
        shared(part, load)
    except OSError:
        pass
    assert shared(part, load) == "here"
