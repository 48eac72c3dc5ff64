"""A project whose flow runs one job, which logs its start and may raise, hang, exit or be killed."""

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
    """Answers with its number. `failures` maps a number to how the job fails until the file `fixed` exists."""

    name: str = "job"
    number: int = 0
    pause: Annotated[float, OPERATIONAL] = 0.0
    failures: Annotated[dict[str, str], OPERATIONAL] = {}

    def run(self, messages):
        append_line(Path("started.txt"), str(self.number))
        kind = None if Path("fixed").exists() else self.failures.get(str(self.number))
        if kind == "raise":
            raise ValueError("job failed")
        if kind == "hang":
            time.sleep(3600)
        if kind == "memory":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "exit":
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
OPTION = "_target_: my_package.job.Job\nnumber: 0\npause: 0.0\nfailures: "
PROMPT = """_target_: llmops_flows.components.prompt.chat.ChatPrompt
messages:
  - {role: user, content: "say {question}"}
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def project(folder: Path, **failures: str) -> Path:
    """A project in a folder. n13="raise": the job with the number 13 raises an error."""
    failures_by_number = {number.removeprefix("n"): kind for number, kind in failures.items()}
    write(folder / "my_package" / "__init__.py", "")
    write(folder / "my_package" / "job.py", JOB)
    write(folder / "conf" / "flow" / "jobs.yaml", FLOW)
    write(folder / "conf" / "prompt" / "jobs" / "v1.yaml", PROMPT)
    write(folder / "conf" / "model" / "job.yaml", OPTION + json.dumps(failures_by_number))
    write(folder / "flows" / "jobs" / "questions.jsonl", '{"id": "a", "question": "hello"}\n')
    return folder


def command(*overrides: str) -> list[str]:
    return [sys.executable, "-m", "llmops_flows", "-m", "flow=jobs", *overrides]


def sweep(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Runs a sweep in the project as a command."""
    return subprocess.run(
        command(*overrides), cwd=folder, capture_output=True, text=True, timeout=110, env=dict(os.environ)
    )


def start_sweep(folder: Path, *overrides: str) -> subprocess.Popen[bytes]:
    """Starts a sweep in the project. Its output goes to `output.txt`."""
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            command(*overrides), cwd=folder, stdout=output, stderr=output, env=dict(os.environ), start_new_session=True
        )


def start_counts(folder: Path) -> Counter[int]:
    """Number of each job to how often it was started."""
    log = folder / "started.txt"
    return Counter(map(int, log.read_text().split())) if log.exists() else Counter()


def results(folder: Path) -> dict[int, dict[str, Any]]:
    """Number of each point to its row, over all sweep folders: each point must be in one of them."""
    rows: dict[int, dict[str, Any]] = {}
    for path in (folder / "multirun").glob("*/*/*/results.jsonl"):
        number = int(path.parent.name)
        assert number not in rows
        [rows[number]] = map(json.loads, path.read_text().splitlines())
    return rows


def finished(folder: Path) -> set[int]:
    """The points whose results are saved."""
    return {int(path.parent.name) for path in (folder / "multirun").glob("*/*/*/summary.json")}


def workers(folder: Path) -> list[int]:
    """The worker processes of sweeps in a folder."""
    processes = []
    for entry in Path("/proc").iterdir():
        try:
            is_worker = entry.name.isdigit() and b"sweeps.workers.worker" in (entry / "cmdline").read_bytes()
            if is_worker and (entry / "cwd").resolve() == folder.resolve():
                processes.append(int(entry.name))
        except OSError:
            continue  # it has ended
    return processes
