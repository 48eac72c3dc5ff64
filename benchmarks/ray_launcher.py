"""A sweep on Ray against plain Ray tasks, and on two workers against one; all on one cluster on this machine."""

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

from .measure import say

TONES = 4
POINTS = 12 * TONES
WORK = 0.2
"""CPU seconds of a point where computing is what counts."""
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
            place = Path(folder, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
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
    ways = {"bare tasks": bare, "bare tasks, one at a time": bare_alone, "sweep": sweep, "sweep, one worker": alone}
    busy = _fastest(ways, WORK)
    each = {name: f"{1000 * 2 * seconds / POINTS:.1f} ms" for name, seconds in empty.items()}
    say(
        f"{POINTS} points on Ray, 2 workers, nothing to compute: time of a worker per point",
        [*each.items(), ("sweep / tasks that run a flow each", f"{empty['sweep'] / empty[TASKS]:.2f}")],
        goal="ratio at most 1.3",
    )
    say(
        f"{POINTS} points of {WORK:g} CPU seconds on Ray",
        [
            *((name, f"{seconds:.2f} s") for name, seconds in busy.items()),
            ("sweep / bare tasks", f"{busy['sweep'] / busy['bare tasks']:.2f}"),
            ("one worker / two workers, sweep", f"{busy['sweep, one worker'] / busy['sweep']:.2f}"),
            ("the same of bare tasks: what this machine gives",
             f"{busy['bare tasks, one at a time'] / busy['bare tasks']:.2f}"),
        ],
        goal="at most 1.3; at least 1.7",
    )  # fmt: skip


TASKS = "tasks that run a flow each"


def _fastest(ways: dict[str, Callable[[float], object]], work: float) -> dict[str, float]:
    """Seconds of each way: the least of the rounds, which take turns.

    Ray keeps no more idle workers than processors, and another way needs others: each is warmed up before its turn.
    """
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, way in ways.items():
            way(0.0)
            begun = time.perf_counter()
            way(work)
            best[name] = min(best[name], time.perf_counter() - begun)
    return best


def bare(work: float, processors: int = 1) -> None:
    """As if there were no pipelines: tasks that compute, and nothing else."""
    import ray
    from spinning import spin

    task = ray.remote(spin).options(num_cpus=processors)
    ray.get([task.remote(work) for _ in range(POINTS)])


def bare_alone(work: float) -> None:
    bare(work, 2)


def flows(work: float) -> None:
    """As one would write it by hand: each task loads the flow of its point, and runs it."""
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
        asked = records(question_rows(experiment.settings), 1)
        return [str(record.answer) for record in runner.run(flow, asked, config=experiment.config)]


def sweep(work: float, *launcher: str) -> None:
    """The command."""
    from llmops_flows.cli.main import main

    axes = [f"model.{name}={','.join(values)}" for name, values in zip(("mark", "tone"), _axes(), strict=True)]
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        code = main(["-m", *_overrides(work), *axes, "hydra/launcher=ray", *launcher])
    if code:
        raise RuntimeError(shown.getvalue())


def alone(work: float) -> None:
    """The command, each job taking both of the machine's processors."""
    sweep(work, "hydra.launcher.num_cpus=2")


def _axes() -> tuple[list[str], list[str]]:
    """The values of two axes, of which no point was ever tried before."""
    return [str(next(_marks)) for _ in range(POINTS // TONES)], [str(tone) for tone in range(TONES)]


def _overrides(work: float) -> tuple[str, ...]:
    return "flow=spin", f"model.seconds={work}"


if __name__ == "__main__":
    main()
