"""One run: the questions through the flow, then a table, the totals, and the files that stay."""

from __future__ import annotations

import logging
import os
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import FlowError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from llmops_flows.config.experiment import Experiment
    from llmops_flows.core.record import Record
    from llmops_flows.engine.runner import Runner

log = logging.getLogger("llmops_flows")


class SingleRun:
    """What Hydra calls for a single run. `error`: what it raised, kept from Hydra, which would print a traceback."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.failed = False

    def __call__(self, config: DictConfig) -> None:
        try:
            self.failed = bool(_failures(run_job(config)))
        except Exception as error:
            self.error = error


def run_job(config: DictConfig, account: str | None = None) -> dict[str, Any]:
    """Run the job that Hydra set up. Returns the summary of the run."""
    from hydra.core.hydra_config import HydraConfig

    from llmops_flows.config import budget, redacted_output, saved_config
    from llmops_flows.config.composition.composed import Composed
    from llmops_flows.config.composition.resolvers import register_resolvers
    from llmops_flows.config.composition.unused_overrides import unused_override_warnings
    from llmops_flows.config.experiment import build_experiment

    register_resolvers()
    redacted_output.redact_logs()
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    saved_config.write(folder, config, hydra)
    chosen = {group: option for group, option in hydra.runtime.choices.items() if isinstance(option, str)}
    composed = Composed(config, tuple(hydra.overrides.task), chosen)
    experiment = build_experiment(composed)
    for told in (*unused_override_warnings(composed), *budget.budget_warnings(experiment)):
        log.warning("%s", told)
    if account is not None:
        experiment = budget.with_account(experiment, account)
    return execute(experiment, folder)


def execute(experiment: Experiment, folder: Path) -> dict[str, Any]:
    """Run an experiment, show it, and leave its files in `folder`. Returns its summary."""
    from llmops_flows.config.experiment_identity import question_rows
    from llmops_flows.config.load import open_runner
    from llmops_flows.config.questions import records

    from .progress import progress

    asked = records(question_rows(experiment.settings), experiment.settings.samples)
    begun, run = time.perf_counter(), uuid.uuid4().hex
    with open_runner(experiment, progress()) as (runner, flow):
        try:
            runner.run(flow, asked, evaluators=experiment.evaluators, config=experiment.config, run=run)
        except KeyboardInterrupt as stop:
            finished = [record for record in asked if record.answer is not None]
            _finish(experiment, finished, time.perf_counter() - begun, folder, run, runner)
            stop.args = (f"interrupted after {len(finished)} of {len(asked)}; the same command goes on from here",)
            raise
        return _finish(experiment, asked, time.perf_counter() - begun, folder, run, runner)


def _finish(
    experiment: Experiment, records: list[Record], seconds: float, folder: Path, run: str, runner: Runner
) -> dict[str, Any]:
    from llmops_flows.report import run_files
    from llmops_flows.report.summary import summarize
    from llmops_flows.report.text import run_text

    about = {"flow": experiment.flow.name, "run": run, "choices": experiment.choices}
    summary: dict[str, Any] = {**about, **summarize(records, seconds=seconds), **_spent(runner)}
    run_files.write_run(folder, records, summary, experiment.config)
    if experiment.settings.question is not None and len(records) == 1:
        print(_one(records[0]))
    else:
        print(run_text.results_table(records))
    parts = [
        run_text.scores_table(summary),
        run_text.stages_table(summary),
        run_text.totals_text(summary),
        str(run_files.relative_path(folder)),
    ]
    print("", "\n\n".join(part for part in parts if part), sep="\n")
    _tell_ways(records)
    return summary


def _failures(summary: Mapping[str, Any]) -> int:
    count: int = summary["errors"]["records"] + summary["errors"]["evaluations"]
    return count


def _spent(runner: Runner) -> dict[str, Any]:
    """What was spent of the budget, for the summary; nothing where there is none."""
    meter = runner.context.budget_meter
    try:
        return {} if meter is None else {"budget": meter.statement().data()}
    except FlowError as error:
        log.warning("what was spent of the budget is not known: %s", error)
        return {}


def _tell_ways(records: list[Record]) -> None:
    """How exceptions that nobody raised on purpose came about: each once, to those who ask for it."""
    found = dict.fromkeys(str(s.notes["traceback"]) for r in records for s in r.spans if "traceback" in s.notes)
    if found and os.environ.get("HYDRA_FULL_ERROR", "0") != "0":
        print(*found, sep="\n", file=sys.stderr)
    elif found:
        print("HYDRA_FULL_ERROR=1 shows the whole traceback; the trace has it, too", file=sys.stderr)


def _one(record: Record) -> str:
    if record.error is not None:
        return f"error: {record.error}"
    return str(record.answer)
