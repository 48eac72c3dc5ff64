"""Stub services: they respond as scripted, hang, or count concurrent calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from llmops_flows.core.errors import BackendError
from llmops_flows.testing.clock import FakeClock


class Service:
    """Returns or raises `answers` in order, and the last one from then on. `at` has the time of each call."""

    def __init__(self, clock: FakeClock, *answers: Any) -> None:
        self.clock = clock
        self.answers = list(answers)
        self.at: list[float] = []

    async def __call__(self, seconds: float) -> str:
        self.at.append(self.clock.now())
        answer = self.answers[min(len(self.at), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return str(answer)


def down(status: int = 500, **details: Any) -> BackendError:
    return BackendError(f"answered {status}", **{"status": status, "retryable": True, **details})


async def hang(seconds: float) -> str:
    await asyncio.sleep(60)
    return "never"


def crowded(places: list[int], pause: float = 0.01) -> Callable[[float], Awaitable[str]]:
    inside = 0

    async def attempt(seconds: float) -> str:
        nonlocal inside
        inside += 1
        places.append(inside)
        await asyncio.sleep(pause)
        inside -= 1
        return "yes"

    return attempt
