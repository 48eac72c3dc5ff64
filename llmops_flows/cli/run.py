"""Runs one config over its questions: prints the answers and totals, and writes the files of the run."""

from __future__ import annotations

import logging
import os
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from llmops_flows.config import redacted_output, run_budget, saved_config
from llmops_flows.config.composition.composed import Composed
from llmops_flows.config.composition.resolvers import register_resolvers
from llmops_flows.config.composition.unused_overrides import unused_override_warnings
from llmops_flows.config.experiment import Experiment, build_experiment
from llmops_flows.config.experiment_identity import question_rows
from llmops_flows.config.load import open_runner
from llmops_flows.config.questions import records
from llmops_flows.core.errors import FlowError
from llmops_flows.core.record import Record
from llmops_flows.engine.runner import Runner
from llmops_flows.report import run_files
from llmops_flows.report.summary import summarize
from llmops_flows.report.text import run_text

from .progress import progress_sinks

log = logging.getLogger("llmops_flows")


class SingleRun:
    """The task function of a single run.

    Attributes:
        error: what it raised. Hydra does not see it, since Hydra would print a traceback.
        failed: whether a record or an evaluation failed.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.failed = False

    def __call__(self, config: DictConfig) -> None:
        try:
            errors = run_job(config)["errors"]
            self.failed = bool(errors["records"] + errors["evaluations"])
        except Exception as error:
            self.error = error


def run_job(config: DictConfig, account: str | None = None) -> dict[str, Any]:
    """Run the job that Hydra set up. Returns its summary. `account`: the shared budget account of a sweep."""
    register_resolvers()
    redacted_output.redact_logs()
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    saved_config.write(folder, config, hydra)
    chosen = {group: option for group, option in hydra.runtime.choices.items() if isinstance(option, str)}
    composed = Composed(config, tuple(hydra.overrides.task), chosen)
    experiment = build_experiment(composed)
    for warning in (*unused_override_warnings(composed), *run_budget.budget_warnings(experiment)):
        log.warning("%s", warning)
    if account is not None:
        experiment = run_budget.with_account(experiment, account)
    return execute(experiment, folder)


def execute(experiment: Experiment, folder: Path) -> dict[str, Any]:
    """Run an experiment, print its results, and write its files to `folder`. Returns its summary."""
    questions = records(question_rows(experiment.settings), experiment.settings.samples)
    started, run = time.perf_counter(), uuid.uuid4().hex
    with open_runner(experiment, progress_sinks()) as (runner, flow):
        try:
            runner.run(flow, questions, evaluators=experiment.evaluators, config=experiment.config, run=run)
        except KeyboardInterrupt as stop:
            finished = [record for record in questions if record.answer is not None]
            _finish(experiment, finished, time.perf_counter() - started, folder, run, runner)
            count = f"{len(finished)} of {len(questions)}"
            stop.args = (f"interrupted after {count}; the same command continues from here",)
            raise
        return _finish(experiment, questions, time.perf_counter() - started, folder, run, runner)


def _finish(
    experiment: Experiment, records: list[Record], seconds: float, folder: Path, run: str, runner: Runner
) -> dict[str, Any]:
    head = {"flow": experiment.flow.name, "run": run, "choices": experiment.choices}
    summary: dict[str, Any] = {**head, **summarize(records, seconds=seconds), **_budget(runner)}
    run_files.write_run(folder, records, summary, experiment.config)
    if experiment.settings.question is not None and len(records) == 1:
        [record] = records
        print(record.answer if record.error is None else f"error: {record.error}")
    else:
        print(run_text.results_table(records))
    parts = [
        run_text.scores_table(summary), run_text.stages_table(summary), run_text.totals_text(summary),
        str(run_files.relative_path(folder)),
    ]  # fmt: skip
    print("", "\n\n".join(part for part in parts if part), sep="\n")
    _print_tracebacks(records)
    return summary


def _budget(runner: Runner) -> dict[str, Any]:
    """The budget's part of the summary; empty without a budget."""
    meter = runner.context.budget_meter
    try:
        return {} if meter is None else {"budget": meter.statement().data()}
    except FlowError as error:
        log.warning("the cost booked on the budget cannot be read: %s", error)
        return {}


def _print_tracebacks(records: list[Record]) -> None:
    """Each traceback of an unexpected exception once, if HYDRA_FULL_ERROR asks for it."""
    spans = (span for record in records for span in record.spans)
    tracebacks = dict.fromkeys(str(span.notes["traceback"]) for span in spans if "traceback" in span.notes)
    if tracebacks and os.environ.get("HYDRA_FULL_ERROR", "0") != "0":
        print(*tracebacks, sep="\n", file=sys.stderr)
    elif tracebacks:
        print("HYDRA_FULL_ERROR=1 shows the whole traceback, which is also in the trace", file=sys.stderr)
