"""A tracer of one's own listens to runs, delivers traces, or is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops_flows import ConfigError
from llmops_flows.cli.main import main
from llmops_flows.config.load import load_experiment, load_flow

PACKAGE = "tracer_parts"
TRACERS = """
from pathlib import Path

from llmops_flows.core.events import Event
from llmops_flows.core.stage import Part
from llmops_flows.core.trace import Exporter, Trace


class EventLog(Part):
    \"\"\"Writes the kind of each event to a file.\"\"\"

    path: Path

    def on(self, event: Event) -> None:
        with self.path.open("a") as file:
            file.write(f"{event.kind}\\n")

    def close(self) -> None:
        with self.path.open("a") as file:
            file.write("closed\\n")


class AnswerList(Exporter):
    \"\"\"Writes each answer to a file.\"\"\"

    path: Path

    def deliver(self, traces: list[Trace]) -> list[str]:
        with self.path.open("a") as file:
            file.writelines(f"{trace.outputs['answer']}\\n" for trace in traces)
        return [trace.id for trace in traces]


class Nothing(Part):
    pass
"""
RUN = ["flow=chat", "model=echo", "guardrail=none", "evaluator=none", f"trust=[{PACKAGE}]"]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / PACKAGE).mkdir()
    (tmp_path / PACKAGE / "__init__.py").write_text("")
    (tmp_path / PACKAGE / "tracers.py").write_text(TRACERS)
    (tmp_path / "conf" / "tracer").mkdir(parents=True)
    for name, fields in (("EventLog", "path: log.txt"), ("AnswerList", "path: answers.txt"), ("Nothing", "")):
        option = f"{name.lower()}:\n  _target_: {PACKAGE}.tracers.{name}\n  {fields}\n"
        (tmp_path / "conf" / "tracer" / f"{name.lower()}.yaml").write_text(option)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in (PACKAGE, f"{PACKAGE}.tracers"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("others", ["", "local,"])
def test_a_tracer_with_on_and_close_hears_the_events_of_a_run(project: Path, others: str) -> None:
    assert main([*RUN, f"tracer=[{others}eventlog]", "question=hi", "store=memory"]) == 0
    kinds = (project / "log.txt").read_text().splitlines()
    assert kinds[0] == "run_started" and kinds[-2:] == ["run_finished", "closed"]
    assert kinds.count("record_finished") == 1


def test_it_hears_each_point_of_a_sweep(project: Path) -> None:
    assert main(["-m", *RUN, "tracer=eventlog", "question=hi", "store=memory", "samples=1,2"]) == 0
    assert (project / "log.txt").read_text().splitlines().count("run_finished") == 2


def test_it_hears_a_flow_in_an_application(project: Path) -> None:
    load_flow("chat", *RUN[1:], "tracer=eventlog", "store=memory").invoke({"question": "hi"})
    assert "record_finished" in (project / "log.txt").read_text()


def test_an_exporter_of_ones_own_delivers_the_traces_of_a_run(project: Path) -> None:
    home = f"home={project / 'home'}"
    assert main([*RUN, "tracer=[local,answerlist]", "question=hi", home]) == 0
    assert main(["ship", "answerlist", "flow=chat", f"trust=[{PACKAGE}]", home]) == 0
    assert (project / "answers.txt").read_text() == "hi\n"


def test_a_component_that_is_no_tracer_is_refused_with_both_possibilities() -> None:
    with pytest.raises(ConfigError) as caught:
        load_experiment(*RUN, "tracer=nothing")
    assert "tracer.nothing (conf/tracer/nothing.yaml:1): must be a tracer, got Nothing" in str(caught.value)
    assert "define on(event) and close() to listen to the events of a run, or derive from Exporter" in str(caught.value)
