"""How far a sweep is: told on a terminal, told rarely in a log, and never before there is something to wait for."""

from __future__ import annotations

from io import StringIO

from llmops_flows import Flow, Record, Runner
from llmops_flows.core.events import Event
from llmops_flows.engine.run import Run
from llmops_flows.sweeps.progress import SweepProgress
from llmops_flows.testing.clock import FakeClock
from llmops_flows.testing.fakes import CountedModel, DictStore


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_line_each_half_minute_with_what_is_left() -> None:
    clock, log = FakeClock(), StringIO()
    progress = SweepProgress(log, clock.now)
    for done in range(1, 101):
        clock.time += 1
        progress.show("model", done, 200, 0.25)
    assert log.getvalue().splitlines() == [
        "model 30 of 200, 25% cached, 0:30, about 2:44 left",
        "model 60 of 200, 25% cached, 1:00, about 2:18 left",
        "model 90 of 200, 25% cached, 1:30, about 1:49 left",
    ]


def test_what_is_short_says_nothing_in_a_log() -> None:
    clock, log = FakeClock(), StringIO()
    progress = SweepProgress(log, clock.now)
    for done in range(29):
        clock.time += 1
        progress.show("points", done, 29, 0)
    progress.close()
    assert log.getvalue() == ""


def test_a_terminal_has_one_line_of_which_nothing_is_left() -> None:
    clock, screen = FakeClock(), Terminal()
    progress = SweepProgress(screen, clock.now)
    for done in range(1, 6):
        clock.time += 0.2
        progress.show("points", done, 5, 0.5)
    progress.close()
    assert screen.getvalue().count("\r\x1b[2K") == 6
    assert "\n" not in screen.getvalue() and screen.getvalue().endswith("\r\x1b[2K")


def test_a_walk_tells_of_the_stage_at_work_over_all_its_runs() -> None:
    clock, log = FakeClock(), StringIO()

    class Slow:
        """Half a minute passes with every answer."""

        def on(self, event: Event) -> None:
            clock.time += 30 * (event.kind == "stage_progress")

        def close(self) -> None: ...

    def lane(model: CountedModel, *texts: str) -> Run:
        asked = [{"messages": [{"role": "user", "content": text}]} for text in texts]
        flow = Flow(inputs=("messages",), stages={"model": model})
        return Run(flow, [Record.of(str(n), slots) for n, slots in enumerate(asked)])

    one, other = CountedModel(name="one"), CountedModel(name="other")
    with Runner(store=DictStore(), sinks=[Slow(), SweepProgress(log, clock.now)]) as runner:
        runner.run_all([lane(one, "a", "b", "b"), lane(one, "b", "c"), lane(other, "a", "b", "c")])
    assert log.getvalue().splitlines() == [
        "model 1 of 8, 0% cached, 0:30, about 3:30 left",
        "model 2 of 8, 0% cached, 1:00, about 3:00 left",
        "model 3 of 8, 0% cached, 1:30, about 2:30 left",
        "model 6 of 8, 0% cached, 2:00, about 0:40 left",
        "model 7 of 8, 0% cached, 2:30, about 0:21 left",
        "model 8 of 8, 0% cached, 3:00, about 0:00 left",
    ]
