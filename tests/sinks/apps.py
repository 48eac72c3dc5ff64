"""Programs that tests start, and end in every way: a flow that is traced for LangSmith, question by question."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from llmops_flows import Runner
from llmops_flows.config import tracing
from llmops_flows.core.stage import Part
from llmops_flows.integrations.langsmith import LangSmith
from llmops_flows.sinks.local import Local
from tests.core.parts import asked, rag


def main(folder: str, count: str, ending: str) -> None:
    """Run `count` questions, each a run of its own, then end: well, exception, SIGTERM, SIGINT, SIGKILL.

    Prints the seconds of each answer, and the time at which the app was done.
    """
    path = Path(folder) / "traces.sqlite"
    parts: dict[str, Part] = {"local": Local(path=path), "langsmith": LangSmith(project="p")}
    targets = {name: f"{type(part).__module__}.{type(part).__qualname__}" for name, part in parts.items()}
    config = {"tracer": {n: {"_target_": targets[n], **p.model_dump(mode="json")} for n, p in parts.items()}}
    [sink] = tracing.sinks(config, parts, None)
    runner, took = Runner(sinks=[sink]), []
    for number in range(int(count)):
        begun = time.perf_counter()
        [record] = runner.run(rag(), asked(f"question {number}"))
        took.append(time.perf_counter() - begun)
        assert record.answer.startswith("said")
    print(json.dumps({"took": took, "done": time.time()}), flush=True)
    if ending == "exception":
        raise RuntimeError("on purpose")
    if ending.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, ending))
        time.sleep(5)
    runner.close()
    sink.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
