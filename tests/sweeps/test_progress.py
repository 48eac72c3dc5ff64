"""A terminal shows progress in one line, a log gets a line now and then, and a short sweep logs nothing."""

from __future__ import annotations

from io import StringIO

from llmops_flows import Flow, Record, Runner
from llmops_flows.core.events import Event
from llmops_flows.engine.run import Run
from llmops_flows.sweeps.sweep_progress import SweepProgress
from llmops_flows.testing.clock import FakeClock
from llmops_flows.testing.fakes import CountedModel, DictStore


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_line_every_half_minute() -> None:
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


def test_a_short_sweep_logs_nothing() -> None:
    clock, log = FakeClock(), StringIO()
    progress = SweepProgress(log, clock.now)
    for done in range(29):
        clock.time += 1
        progress.show("points", done, 29, 0)
    progress.close()
    assert log.getvalue() == ""


def test_a_terminal_shows_one_line_that_is_cleared_at_the_end() -> None:
    clock, screen = FakeClock(), Terminal()
    progress = SweepProgress(screen, clock.now)
    for done in range(1, 6):
        clock.time += 0.2
        progress.show("points", done, 5, 0.5)
    progress.close()
    assert screen.getvalue().count("\r\x1b[2K") == 6
    assert "\n" not in screen.getvalue() and screen.getvalue().endswith("\r\x1b[2K")


def test_progress_counts_the_records_of_a_stage_over_all_runs() -> None:
    clock, log = FakeClock(), StringIO()

    class Slow:
        """Half a minute passes with each answer."""

        def on(self, event: Event) -> None:
            clock.time += 30 * (event.kind == "stage_progress")

        def close(self) -> None: ...

    def run(model: CountedModel, *texts: str) -> Run:
        slots = [{"messages": [{"role": "user", "content": text}]} for text in texts]
        flow = Flow(inputs=("messages",), stages={"model": model})
        return Run(flow, [Record.of(str(n), record) for n, record in enumerate(slots)])

    first, second = CountedModel(name="first"), CountedModel(name="second")
    with Runner(store=DictStore(), sinks=[Slow(), SweepProgress(log, clock.now)]) as runner:
        runner.run_all([run(first, "a", "b", "b"), run(first, "b", "c"), run(second, "a", "b", "c")])
    assert log.getvalue().splitlines() == [
        "model 1 of 8, 0% cached, 0:30, about 3:30 left",
        "model 2 of 8, 0% cached, 1:00, about 3:00 left",
        "model 3 of 8, 0% cached, 1:30, about 2:30 left",
        "model 6 of 8, 0% cached, 2:00, about 0:40 left",
        "model 7 of 8, 0% cached, 2:30, about 0:21 left",
        "model 8 of 8, 0% cached, 3:00, about 0:00 left",
    ]
