"""A program that traces a flow to LangSmith, and ends in a given way."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from llmops_flows import Runner
from llmops_flows.components.tracer.langsmith import LangSmithExporter
from llmops_flows.components.tracer.local import LocalTracer
from llmops_flows.config import tracing
from llmops_flows.core.events import Event, Sink
from llmops_flows.core.stage import Part
from tests.support.stub_stages import question_records, rag_flow


class Timed:
    """Wraps a sink, and measures the processor time and wall time of all its events, for each run."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.cpu: list[float] = []
        self.wall: list[float] = []

    def on(self, event: Event) -> None:
        if event.kind == "run_started":
            self.cpu.append(0.0)
            self.wall.append(0.0)
        cpu, wall = time.thread_time(), time.perf_counter()
        self.sink.on(event)
        self.cpu[-1] += time.thread_time() - cpu
        self.wall[-1] += time.perf_counter() - wall

    def close(self) -> None:
        self.sink.close()


def main(folder: str, count: str, ending: str) -> None:
    """Run each question in a separate run, then end: well, exception, SIGTERM, SIGINT or SIGKILL.

    Prints the seconds of each run, how many of them were tracing, and the time of the last answer.
    """
    path = Path(folder) / "traces.sqlite"
    parts: dict[str, Part] = {"local": LocalTracer(path=path), "langsmith": LangSmithExporter(project="p")}
    targets = {name: f"{type(part).__module__}.{type(part).__qualname__}" for name, part in parts.items()}
    config = {"tracer": {n: {"_target_": targets[n], **p.model_dump(mode="json")} for n, p in parts.items()}}
    sink = Timed(*tracing.sinks(config, parts, None))
    runner, took = Runner(sinks=[sink]), []
    for number in range(int(count)):
        begun = time.perf_counter()
        [record] = runner.run(rag_flow(), question_records(f"question {number}"))
        took.append(time.perf_counter() - begun)
        assert record.answer.startswith("said")
    print(json.dumps({"took": took, "cpu": sink.cpu, "wall": sink.wall, "done": time.time()}), flush=True)
    if ending == "exception":
        raise RuntimeError("on purpose")
    if ending.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, ending))
        time.sleep(5)
    runner.close()
    sink.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
