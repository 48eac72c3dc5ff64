"""Small stages that count how often they run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from llmops_flows import Call, Flow, Outcome, Record, Stage

RUN_COUNTS: Counter[str] = Counter()


class Find(Stage):
    writes: ClassVar[str] = "documents"
    k: int = 2
    pause: float = 0.0

    def run(self, question: str) -> list[dict[str, Any]]:
        RUN_COUNTS["find"] += 1
        time.sleep(self.pause)
        return [{"id": str(n), "page_content": f"{question} {n}", "metadata": {}} for n in range(self.k)]


class FindMany(Stage):
    writes: ClassVar[str] = "documents"

    def run_many(self, inputs: Sequence[Mapping[str, Any]], calls: Sequence[Call]) -> list[Any]:
        RUN_COUNTS["batches"] += 1
        return [ValueError("bad row") if given["question"] == "bad" else [given["question"]] for given in inputs]

    def run(self, question: str) -> Any:
        return [question]


class Write(Stage):
    writes: ClassVar[str] = "messages"
    inline: ClassVar[bool] = True
    text: str = "Answer"

    def run(self, question: str, documents: list[Any]) -> list[dict[str, str]]:
        RUN_COUNTS["write"] += 1
        return [{"role": "user", "content": f"{self.text}: {question} ({len(documents)})"}]


class Say(Stage):
    writes: ClassVar[str] = "answer"
    name: str = "fake"
    temperature: float = 0.0
    fails_on: str = "never"
    refuses: bool = False
    pause: float = 0.0

    @property
    def random(self) -> bool:
        return self.temperature > 0

    def run(self, messages: list[dict[str, str]], call: Call) -> Outcome:
        RUN_COUNTS["say"] += 1
        text = messages[-1]["content"]
        until = time.monotonic() + self.pause
        while time.monotonic() < until and not call.cancelled():
            time.sleep(0.005)
        if self.fails_on in text:
            raise RuntimeError("out of luck")
        for piece in ("said ", text):
            call.token(piece)
        return Outcome(f"said {text}", usage={"input_tokens": 3, "output_tokens": 2}, cacheable=not self.refuses)


class Guard(Stage):
    writes: ClassVar[str] = "answer"
    inline: ClassVar[bool] = True
    wants: str = ""
    blocks: str = "never"

    def run(self, answer: str) -> Outcome:
        RUN_COUNTS["guard"] += 1
        if self.blocks in answer:
            return Outcome("I must not say that.", verdict={"passed": False, "action": "refrain"}, ends=True)
        if self.wants not in answer:
            return Outcome("I cannot.", verdict={"passed": False, "action": "reask"}, retry=f"say {self.wants}")
        return Outcome(answer, verdict={"passed": True, "action": "pass"})


class Length(Stage):
    writes: ClassVar[str] = "scores"
    gathered: ClassVar[bool] = True
    inline: ClassVar[bool] = True
    breaks: bool = False

    def run(self, answer: str, reference: str = "") -> dict[str, float | None]:
        RUN_COUNTS["length"] += 1
        if self.breaks:
            raise ZeroDivisionError("no scale")
        return {"length": min(1.0, len(answer) / 100), "against": None if not reference else 1.0}


def rag_flow(**stages: Stage) -> Flow:
    """A flow of retrieve, prompt, model and guard; any of them can be replaced by name."""
    return Flow(stages={"retrieve": Find(), "prompt": Write(), "model": Say(), "guard": Guard(), **stages})


def question_records(*questions: str, sample: int | None = None) -> list[Record]:
    return [Record.of(f"q{n}", {"question": q}, sample=sample) for n, q in enumerate(questions)]


def states(record: Record) -> dict[str, str]:
    return {span.stage: span.state for span in record.spans}
