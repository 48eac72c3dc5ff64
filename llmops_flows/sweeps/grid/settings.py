"""What `sweep.*` says about a sweep as a whole: which points it has, and how they are run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from llmops_flows.config.field_errors import field_problems
from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.text.suggestions import did_you_mean

from .constraints import Where

SWEEP = "sweep."


class SweepSettings(BaseModel):
    """The keys below `sweep`.

    Attributes:
        zip: axes that move together.
        where: a condition that a point must fulfil.
        maximize, minimize: what a search is after.
        workers: how many processes the points are spread over; 1 without a timeout: all run in this process.
        timeout: seconds that a point may take; then its process is killed and the point has failed.
        fail_fast: stop at the first point that fails.
        stop: a metric; points that are worse than the best by it beyond doubt stop after a block of questions.
        block: how many questions are asked between two looks.
        resume: go on with what an earlier run of the same sweep left unfinished.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
    zip: tuple[tuple[str, ...], ...] = ()
    where: Where | None = None
    maximize: tuple[str, ...] = ()
    minimize: tuple[str, ...] = ()
    workers: int = Field(default=1, ge=1, le=1000)
    timeout: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    fail_fast: bool = False
    stop: str | None = None
    block: int = Field(default=20, ge=1)
    resume: bool = True

    @field_validator("zip", mode="before")
    @classmethod
    def _groups(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value or ()
        groups = value if all(isinstance(group, list | tuple) for group in value) else [value]
        return tuple(tuple(str(key) for key in group) for group in groups)

    @field_validator("where", mode="before")
    @classmethod
    def _condition(cls, value: Any) -> Any:
        return Where(str(value)) if value and not isinstance(value, Where) else value or None

    @field_validator("maximize", "minimize", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        listed = value if isinstance(value, list | tuple) else [value]
        return tuple(str(name) for name in listed if name is not None)

    @field_validator("stop", mode="before")
    @classmethod
    def _metric(cls, value: Any) -> Any:
        return value.removeprefix("scores.") if isinstance(value, str) else value

    @model_validator(mode="after")
    def _side_by_side(self) -> SweepSettings:
        if self.stop is not None and (self.apart or self.fail_fast):
            raise ValueError("stop compares points side by side: it does not go with workers, timeout or fail_fast")
        return self

    @property
    def apart(self) -> bool:
        """Whether points run in processes of their own."""
        return self.workers > 1 or self.timeout is not None

    @property
    def alone(self) -> bool:
        """Whether each point runs by itself, not side by side with others."""
        return self.apart or self.fail_fast


def rules(overrides: Sequence[str]) -> tuple[list[str], SweepSettings]:
    """The overrides without those of the sweep itself, and what these say. Raises ConfigError."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    own = [text for text in overrides if text.lstrip("+").startswith(SWEEP)]
    values: dict[str, Any] = {}
    for text in own:
        parsed = OverridesParser.create().parse_override(text)
        if parsed.is_sweep_override():
            raise ConfigError(Problem("this holds for the whole sweep: it has one value", parsed.key_or_group))
        values[parsed.key_or_group.removeprefix(SWEEP)] = parsed.value()
    names = list(SweepSettings.model_fields)
    if unknown := sorted(values.keys() - set(names)):
        hint = "{}; sweep.zip=[[key,key]], sweep.where='key == value'"
        raise ConfigError(
            [Problem(f"a sweep has no {n!r}", f"{SWEEP}{n}", hint=hint.format(did_you_mean(n, names))) for n in unknown]
        )
    try:
        return [text for text in overrides if text not in own], SweepSettings(**values)
    except ValidationError as error:
        raise ConfigError(field_problems(error, SweepSettings, SWEEP.rstrip("."), values)) from None
