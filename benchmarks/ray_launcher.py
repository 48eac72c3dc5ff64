"""A sweep on Ray compared with plain Ray tasks, and two workers compared with one, on a local cluster."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from .measure import print_result

TONES = 4
POINTS = 12 * TONES
WORK = 0.2
"""CPU seconds of a point in the measurement with computation."""
ROUNDS = 3
SPIN = '''
import time

from llmops_flows import Model


def spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


class Spin(Model):
    """Computes for a while."""

    name: str = "spin"
    seconds: float = 0.0
    mark: int = 0
    tone: int = 0

    def run(self, question: str) -> str:
        spin(self.seconds)
        return question
'''
FLOW = """# @package _global_
defaults:
  - override /model: spin
  - override /evaluator: none
  - override /guardrail: none
name: spin
trust: [spinning]
questions: {path: questions.jsonl}
stages:
  model: ${model}
"""
FILES = {
    "spinning.py": SPIN,
    "conf/model/spin.yaml": "_target_: spinning.Spin\nseconds: 0.0\nmark: 0\ntone: 0\n",
    "conf/flow/spin.yaml": FLOW,
    "questions.jsonl": '{"question": "how long?"}\n',
}
_marks = count()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in FILES.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        os.chdir(folder)
        os.environ |= {"LLMOPS_FLOWS_HOME": f"{folder}/home", "PYTHONPATH": folder}
        sys.path.insert(0, folder)
        try:
            _measure()
        finally:
            import ray

            ray.shutdown()
            os.chdir("/")


def _measure() -> None:
    from llmops_flows_ray.launch import start_ray

    start_ray({"address": None, "init": {"num_cpus": 2}})
    empty = _fastest({"bare tasks": bare, "tasks that run a flow each": flows, "sweep": sweep}, 0.0)
    candidates = {
        "bare tasks": bare,
        "bare tasks, one at a time": bare_alone,
        "sweep": sweep,
        "sweep, one worker": sweep_alone,
    }
    busy = _fastest(candidates, WORK)
    each = {name: f"{1000 * 2 * seconds / POINTS:.1f} ms" for name, seconds in empty.items()}
    print_result(
        f"{POINTS} points on Ray, 2 workers, without computation: time of a worker per point",
        [*each.items(), ("sweep / tasks that run a flow each", f"{empty['sweep'] / empty[TASKS]:.2f}")],
        goal="ratio at most 1.3",
    )
    print_result(
        f"{POINTS} points of {WORK:g} CPU seconds on Ray",
        [
            *((name, f"{seconds:.2f} s") for name, seconds in busy.items()),
            ("sweep / bare tasks", f"{busy['sweep'] / busy['bare tasks']:.2f}"),
            ("one worker / two workers, sweep", f"{busy['sweep, one worker'] / busy['sweep']:.2f}"),
            ("the same for bare tasks: the limit of this machine",
             f"{busy['bare tasks, one at a time'] / busy['bare tasks']:.2f}"),
        ],
        goal="at most 1.3; at least 1.7",
    )  # fmt: skip


TASKS = "tasks that run a flow each"


def _fastest(candidates: dict[str, Callable[[float], object]], work: float) -> dict[str, float]:
    """Seconds of each candidate: the minimum of the rounds, in which they take turns.

    Each candidate warms up before its turn: Ray keeps at most one idle worker per processor.
    """
    best = dict.fromkeys(candidates, float("inf"))
    for _ in range(ROUNDS):
        for name, candidate in candidates.items():
            candidate(0.0)
            start = time.perf_counter()
            candidate(work)
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def bare(work: float, processors: int = 1) -> None:
    """Ray tasks that only compute, without a flow."""
    import ray
    from spinning import spin

    task = ray.remote(spin).options(num_cpus=processors)
    ray.get([task.remote(work) for _ in range(POINTS)])


def bare_alone(work: float) -> None:
    bare(work, 2)


def flows(work: float) -> None:
    """Ray tasks that each load and run the flow of their point, as written by hand."""
    import ray

    task = ray.remote(_flow)
    marks, tones = _axes()
    points = [(f"model.mark={mark}", f"model.tone={tone}") for mark in marks for tone in tones]
    ray.get([task.remote(*_overrides(work), *point) for point in points])


def _flow(*overrides: str) -> list[str]:
    from llmops_flows.config.experiment_identity import question_rows
    from llmops_flows.config.load import load_experiment, open_runner
    from llmops_flows.config.questions import records

    experiment = load_experiment(*overrides)
    with open_runner(experiment) as (runner, flow):
        questions = records(question_rows(experiment.settings), 1)
        return [str(record.answer) for record in runner.run(flow, questions, config=experiment.config)]


def sweep(work: float, *launcher: str) -> None:
    """The sweep command."""
    from llmops_flows.cli.main import main

    axes = [f"model.{name}={','.join(values)}" for name, values in zip(("mark", "tone"), _axes(), strict=True)]
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = main(["-m", *_overrides(work), *axes, "hydra/launcher=ray", *launcher])
    if code:
        raise RuntimeError(output.getvalue())


def sweep_alone(work: float) -> None:
    """The sweep command with two processors per job: one worker."""
    sweep(work, "hydra.launcher.num_cpus=2")


def _axes() -> tuple[list[str], list[str]]:
    """The values of two axes. Their points are new in every call."""
    return [str(next(_marks)) for _ in range(POINTS // TONES)], [str(tone) for tone in range(TONES)]


def _overrides(work: float) -> tuple[str, ...]:
    return "flow=spin", f"model.seconds={work}"


if __name__ == "__main__":
    main()
