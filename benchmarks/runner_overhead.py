"""The overhead of the runner for five trivial stages, compared with the same five steps in traced LCEL."""

from __future__ import annotations

from typing import Any, ClassVar

from langchain_core.runnables import RunnableLambda, RunnableSequence
from langchain_core.tracers import BaseTracer
from langchain_core.tracers.schemas import Run

from llmops_flows import Flow, Record, Runner, Stage

from .measure import functions, print_result


class Step(Stage):
    """Adds one letter."""

    writes: ClassVar[str] = "question"
    inline: ClassVar[bool] = True
    number: int = 0

    def run(self, question: str) -> str:
        return question + "x"


class Silent(BaseTracer):
    """A tracer that stores nothing."""

    def _persist_run(self, run: Run) -> None:
        return


def main() -> None:
    flow = Flow(stages={f"step{n}": Step(number=n) for n in range(5)})
    chain: Any = RunnableSequence(*(RunnableLambda(lambda text: text + "x") for _ in range(5)))
    traced = {"callbacks": [Silent()]}
    with Runner() as runner:
        seconds = functions(
            {
                "runner": lambda: runner.run(flow, [Record.of("1", {"question": "a"})]),
                "LCEL, traced": lambda: chain.invoke("a", config=traced),
                "LCEL, no tracer": lambda: chain.invoke("a"),
            },
            rounds=7,
            calls=100,
        )
    rows = [(name, f"{value * 1e3:.2f} ms") for name, value in seconds.items()]
    rows.append(("runner / LCEL, traced", f"{seconds['runner'] / seconds['LCEL, traced']:.2f}"))
    print_result("Overhead of a five-stage flow of trivial stages", rows, goal="below 1")


if __name__ == "__main__":
    main()
