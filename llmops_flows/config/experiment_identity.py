"""What an experiment does, part by part: what makes two experiments do the same, and names what changed in one."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from llmops_flows.core.fingerprint import address

from .experiment import Experiment, RunSettings
from .questions import Questions
from .tracing import tracer_fields


def experiment_identity(experiment: Experiment) -> str:
    """The address of what an experiment does: two of the same do the same work. Raises ConfigError: no questions."""
    return address(part_identities(experiment))


def part_identities(experiment: Experiment) -> dict[str, str]:
    """The address of everything that decides what an experiment does, by its name in the flow or config."""
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
    """What lies behind the address of a part, as plain data: its fields, or each question's address by its id."""
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
    """The questions that are asked: the one, or the drawn ones of the question set."""
    if settings.question is not None:
        return [{"question": settings.question}]
    return settings.questions.rows(settings.inputs)


def _questions(settings: RunSettings) -> str:
    if settings.question is not None or settings.questions.path is None:
        return address(question_rows(settings))
    try:
        found = Path(settings.questions.path).stat()
    except OSError:
        return address(question_rows(settings))  # which says what is wrong
    state = (found.st_mtime_ns, found.st_size, found.st_ino)
    return _drawn(settings.questions, settings.inputs, state)


@lru_cache(maxsize=32)
def _drawn(questions: Questions, inputs: tuple[str, ...], state: tuple[int, ...]) -> str:
    """The address of the drawn rows of a file in that state; the points of a sweep mostly ask the same ones."""
    return address(questions.rows(inputs))
