"""An exception of somebody's own code says in which file and line it came up; its trace has the whole way."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmops_flows import BackendError, Call, Flow, Part, Record, Runner, Stage
from llmops_flows.components.tracer.local import LocalTracer
from llmops_flows.engine.user_frame import user_frame
from tests.support.http_models import span

HERE = Path(__file__)


class Breaks(Stage):
    writes = "answer"

    def run(self, question: str) -> Any:
        return json.loads(question)


class BreaksInline(Breaks):
    inline = True


class BreaksAsync(Breaks):
    async def run(self, question: str) -> Any:
        return json.loads(question)


class BreaksTogether(Breaks):
    def run_many(self, inputs: Sequence[Mapping[str, Any]], calls: Sequence[Call]) -> list[Any]:
        return [json.loads(one["question"]) for one in inputs]


def failed(stage: Stage) -> Record:
    """The first of two records, so that who can runs both together."""
    with Runner() as runner:
        asked = [Record.of(str(n), {"question": "{" * n}) for n in (1, 2)]
        return runner.run(Flow(stages={"model": stage}), asked)[0]


def line_of(text: str, after: str) -> int:
    lines = HERE.read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if after in line)
    return next(n for n, line in enumerate(lines[first:], first + 1) if text in line)


@pytest.mark.parametrize("stage", [Breaks(), BreaksInline(), BreaksAsync(), BreaksTogether()])
def test_the_line_of_one_s_own_code_is_told_not_the_library_s(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE.parent.parent)
    line = line_of("json.loads", f"class {type(stage).__name__}") if type(stage) is not BreaksInline else 0
    line = line or line_of("json.loads", "class Breaks(")
    told = str(failed(stage).error)
    assert told.startswith("JSONDecodeError: ")
    assert re.search(rf"\(engine/test_user_frame\.py:{line} in (run|run_many|<listcomp>)\)$", told), told


def test_the_trace_has_the_whole_way_from_the_stage_on(tmp_path: Path) -> None:
    local = LocalTracer(path=tmp_path / "traces.sqlite")
    sink = local.sink()
    with Runner(sinks=[sink]) as runner:
        runner.run(Flow(stages={"model": Breaks()}), [Record.of("1", {"question": "{"})], run="a")
    [trace] = sink.store.traces("a")
    sink.close()
    way = trace.steps[0].notes["traceback"]
    assert way.startswith("Traceback (most recent call last):\n  File " + f'"{__file__}"')
    assert "json/decoder.py" in way and way.rstrip().endswith("line 1 column 2 (char 1)")
    assert "core/execution.py" not in way


def test_an_error_that_was_raised_on_purpose_stands_as_it_is() -> None:
    class Refused(Stage):
        writes = "answer"

        def run(self, question: str) -> str:
            raise BackendError("the service is closed on Sundays")

    record = failed(Refused())
    assert str(record.error) == "the service is closed on Sundays"
    assert span(record).notes == {}


def test_an_error_of_what_is_installed_names_no_line() -> None:
    with pytest.raises(ValueError) as raised:
        Part.model_validate({"unknown": 1})
    error = raised.value.with_traceback(raised.value.__traceback__ and raised.value.__traceback__.tb_next)
    assert user_frame(error) == ""


def test_an_error_without_words_is_named() -> None:
    class Asserts(Stage):
        writes = "answer"

        def run(self, question: str) -> str:
            raise AssertionError

    assert str(failed(Asserts()).error).startswith("AssertionError (")
