"""A project whose flow answers with the height of a hill, and helpers to read the results of a search in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HILL = """
import os
import signal
from pathlib import Path

from llmops_flows import Evaluator, Model

CALLS = Path("calls.txt")


class Hill(Model):
    '''Answers with the height of the hill at a place. Its top, 1, is at east=0.3 and north=7 on the south side.'''

    name: str = "hill"
    east: float = 0.0
    north: int = 0
    side: str = "south"
    unused: int = 0

    def run(self, messages):
        if self.side == "cliff":
            raise ValueError("fell off")
        with CALLS.open("a") as file:
            file.write(f"{self.east} {self.north} {self.side}\\n")
        if CALLS.read_text().count("\\n") == int(os.environ.get("KILLED_AT", -1)):
            os.kill(os.getpid(), signal.SIGKILL)
        height = 1 - (self.east - 0.3) ** 2 - ((self.north - 7) / 10) ** 2 - 0.5 * (self.side == "north")
        return "" if self.side == "fog" else str(height)


class Height(Evaluator):
    @property
    def metrics(self):
        return ("height",)

    def run(self, answer):
        return {"height": float(answer) if answer else None}


class Secret(Evaluator):
    def run(self, answer):
        return {"depth": -float(answer)}
"""
FLOW = """# @package _global_
defaults:
  - override /model: hill
  - override /prompt: chat/v1
  - override /evaluator: height
  - override /tracer: none
name: hill
trust: [a_hill]
question: how high?
stages:
  prompt: ${prompt}
  model: ${model}
"""
HEIGHT = ["-m", "flow=hill", "hydra/sweeper=optuna", "sweep.maximize=[scores.height]"]
PLACES = ["model.east=interval(0,1)", "model.north=range(0,11)"]


def results(folder: str = "results") -> dict[str, Any]:
    data: dict[str, Any] = json.loads(Path(folder, "optimization_results.json").read_text())
    return data


def calls() -> list[str]:
    return Path("calls.txt").read_text().splitlines() if Path("calls.txt").exists() else []


def tried(folder: str = "results") -> list[str]:
    return [" ".join(trial["overrides"]) for trial in results(folder)["trials"]]
