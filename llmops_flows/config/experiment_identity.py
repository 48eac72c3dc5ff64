"""Identities of an experiment and its parts, which show whether two experiments compute the same."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from llmops_flows.core.fingerprint import address

from .experiment import Experiment, RunSettings
from .questions import Questions
from .tracing import tracer_fields


def experiment_identity(experiment: Experiment) -> str:
    """Address of everything that decides what an experiment computes. Raises ConfigError: no questions."""
    return address(part_identities(experiment))


def part_identities(experiment: Experiment) -> dict[str, str]:
    """Address of each part that decides what an experiment computes, by its name in the flow or config."""
    settings = experiment.settings
    return {
        **{f"stages.{name}": stage.identity for name, stage in experiment.flow.leaves()},
        **{f"evaluator.{name}": stage.identity for name, stage in experiment.evaluators.items()},
        **{f"tracer.{name}": address(tracer_fields(part)) for name, part in experiment.tracers.items()},
        "flow": experiment.flow.identity,
        "cache": experiment.cache.identity,
        "questions": _questions(settings),
        "samples": str(settings.samples),
        "tenant": settings.tenant,
    }


def part_details(experiment: Experiment, name: str) -> Any:
    """The plain data that a part's address covers: its fields, or the address of each question by its id."""
    group, _, key = name.partition(".")
    if group == "stages":
        return dict(experiment.flow.leaves())[key].fingerprint()
    if group == "evaluator":
        return experiment.evaluators[key].fingerprint()
    if group == "tracer":
        return tracer_fields(experiment.tracers[key])
    if group == "cache":
        return experiment.cache.fingerprint()
    if group == "questions":
        return {str(row.get("id", "question")): address(row) for row in question_rows(experiment.settings)}
    return part_identities(experiment)[name] if group in ("samples", "tenant") else list(experiment.flow.parts)


def question_rows(settings: RunSettings) -> list[dict[str, Any]]:
    """The rows of a run: the single question, or the sample of the question set."""
    if settings.question is not None:
        return [{"question": settings.question}]
    return settings.questions.rows(settings.inputs)


def _questions(settings: RunSettings) -> str:
    if settings.question is not None or settings.questions.path is None:
        return address(question_rows(settings))
    try:
        status = Path(settings.questions.path).stat()
    except OSError:
        return address(question_rows(settings))  # raises ConfigError
    state = (status.st_mtime_ns, status.st_size, status.st_ino)
    return _sample_address(settings.questions, settings.inputs, state)


@lru_cache(maxsize=32)
def _sample_address(questions: Questions, inputs: tuple[str, ...], state: tuple[int, ...]) -> str:
    """Address of the sample of a file in this state, cached because the points of a sweep often share it."""
    return address(questions.rows(inputs))
