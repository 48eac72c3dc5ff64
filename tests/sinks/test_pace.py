"""How far a sweep is: told on a terminal, told rarely in a log, and never before there is something to wait for."""

from __future__ import annotations

from io import StringIO

from llmops_flows import Flow, Record, Runner
from llmops_flows.core.events import Event
from llmops_flows.sinks.pace import Pace
from llmops_flows.testing.clock import FakeClock


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_line_each_half_minute_with_what_is_left() -> None:
    clock, log = FakeClock(), StringIO()
    pace = Pace(log, clock.now)
    for done in range(1, 101):
        clock.time += 1
        pace.tell("model", done, 200, 0.25)
    assert log.getvalue().splitlines() == [
        "model 30 of 200, 25% known, 0:30, about 2:44 to go",
        "model 60 of 200, 25% known, 1:00, about 2:18 to go",
        "model 90 of 200, 25% known, 1:30, about 1:49 to go",
    ]


def test_what_is_short_says_nothing_in_a_log() -> None:
    clock, log = FakeClock(), StringIO()
    pace = Pace(log, clock.now)
    for done in range(29):
        clock.time += 1
        pace.tell("points", done, 29, 0)
    pace.close()
    assert log.getvalue() == ""


def test_a_terminal_has_one_line_of_which_nothing_is_left() -> None:
    clock, screen = FakeClock(), Terminal()
    pace = Pace(screen, clock.now)
    for done in range(1, 6):
        clock.time += 0.2
        pace.tell("points", done, 5, 0.5)
    pace.close()
    assert screen.getvalue().count("\r\x1b[2K") == 6
    assert "\n" not in screen.getvalue() and screen.getvalue().endswith("\r\x1b[2K")


def test_a_run_tells_of_every_distinct_answer() -> None:
    from llmops_flows.testing.fakes import CountedModel, DictStore

    seen: list[Event] = []

    class Listener:
        def on(self, event: Event) -> None:
            if event.kind == "stage_progress":
                seen.append(event)

        def close(self) -> None: ...

    flow = Flow(inputs=("messages",), stages={"model": CountedModel()})

    def asked(*texts: str) -> list[Record]:
        return [Record.of(str(n), {"messages": [{"role": "user", "content": t}]}) for n, t in enumerate(texts)]

    with Runner(store=DictStore(), sinks=[Listener()]) as runner:
        runner.run(flow, asked("a"))
        seen.clear()
        runner.run(flow, asked("a", "b", "c", "c"))
    assert [event.data for event in seen] == [{"done": n, "of": 2, "known": 1 / 3} for n in (1, 2)]
