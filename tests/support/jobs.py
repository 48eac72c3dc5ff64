"""A user's project whose flow is one job: it writes down when it is done, and may raise, hang, or eat all memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

JOB = '''
import os
import signal
import time
from pathlib import Path
from typing import Annotated

from llmops_flows import OPERATIONAL, Model
from llmops_flows.testing.fakes import append_line


class Job(Model):
    """Says its number. `trouble`: number to what goes wrong there, as long as there is no file `mended`."""

    name: str = "job"
    number: int = 0
    pause: Annotated[float, OPERATIONAL] = 0.0
    trouble: Annotated[dict[str, str], OPERATIONAL] = {}

    def run(self, messages):
        append_line(Path("begun.txt"), str(self.number))
        kind = None if Path("mended").exists() else self.trouble.get(str(self.number))
        if kind == "raise":
            raise ValueError("no luck today")
        if kind == "hang":
            time.sleep(3600)
        if kind == "memory":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "leave":
            os._exit(7)
        time.sleep(self.pause)
        return f"{self.number}: {messages[-1]['content']}"
'''
FLOW = """# @package _global_
defaults:
  - override /prompt: jobs/v1
  - override /model: job
  - override /guardrail: none
  - override /evaluator: none

name: jobs
trust: [my_package]
questions: {path: "${flow_data:jobs,questions.jsonl}"}
stages:
  prompt: ${prompt}
  model: ${model}
"""
OPTION = "_target_: my_package.job.Job\nnumber: 0\npause: 0.0\ntrouble: "
PROMPT = """_target_: llmops_flows.components.prompt.chat.ChatPrompt
messages:
  - {role: user, content: "say {question}"}
"""


def write(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def project(folder: Path, **trouble: str) -> Path:
    """A project in a folder; `trouble`: n13="raise"."""
    named = {number.removeprefix("n"): kind for number, kind in trouble.items()}
    write(folder / "my_package" / "__init__.py", "")
    write(folder / "my_package" / "job.py", JOB)
    write(folder / "conf" / "flow" / "jobs.yaml", FLOW)
    write(folder / "conf" / "prompt" / "jobs" / "v1.yaml", PROMPT)
    write(folder / "conf" / "model" / "job.yaml", OPTION + json.dumps(named))
    write(folder / "flows" / "jobs" / "questions.jsonl", '{"id": "a", "question": "hello"}\n')
    return folder


def command(*overrides: str) -> list[str]:
    return [sys.executable, "-m", "llmops_flows", "-m", "flow=jobs", *overrides]


def sweep(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """A sweep, as a user would type it in the project."""
    return subprocess.run(
        command(*overrides), cwd=folder, capture_output=True, text=True, timeout=110, env=dict(os.environ)
    )


def started(folder: Path, *overrides: str) -> subprocess.Popen[bytes]:
    """A sweep at work; what it says lands in `said.txt`."""
    with (folder / "said.txt").open("ab") as said:
        return subprocess.Popen(
            command(*overrides), cwd=folder, stdout=said, stderr=said, env=dict(os.environ), start_new_session=True
        )


def begun(folder: Path) -> Counter[int]:
    """Job to how often it was begun."""
    log = folder / "begun.txt"
    return Counter(map(int, log.read_text().split())) if log.exists() else Counter()


def results(folder: Path) -> dict[int, dict[str, Any]]:
    """Point to its row, over all folders of sweeps: each point stands in one."""
    found = {}
    for path in (folder / "multirun").glob("*/*/*/results.jsonl"):
        number = int(path.parent.name)
        assert number not in found
        [found[number]] = map(json.loads, path.read_text().splitlines())
    return found


def finished(folder: Path) -> set[int]:
    """Points whose results are there to stay."""
    return {int(path.parent.name) for path in (folder / "multirun").glob("*/*/*/summary.json")}


def workers(folder: Path) -> list[int]:
    """The worker processes of sweeps in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            ours = entry.name.isdigit() and b"sweeps.workers.worker" in (entry / "cmdline").read_bytes()
            if ours and (entry / "cwd").resolve() == folder.resolve():
                found.append(int(entry.name))
        except OSError:
            continue  # it is gone
    return found
