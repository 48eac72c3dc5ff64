"""The settings of a sweep, from the overrides of `sweep.*`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from llmops_flows.config.field_errors import field_problems
from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.text.suggestions import did_you_mean

from .constraints import Constraint, ReadKey

SWEEP = "sweep."


class SweepSettings(BaseModel):
    """The keys below `sweep`.

    Attributes:
        zip: axes that vary together.
        where: a constraint that each point must fulfill.
        maximize, minimize: the objectives of a search.
        workers: number of worker processes; 1 without a timeout runs all points in this process.
        timeout: seconds that a point may take before its process is killed and the point counts as failed.
        fail_fast: stop at the first point that fails.
        stop: a metric; a point whose scores are clearly worse than those of the best point stops after a block.
        block: number of questions between two comparisons.
        resume: continue an unfinished run of the same sweep.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
    zip: tuple[tuple[str, ...], ...] = ()
    where: Constraint | None = None
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
    def _parse_zip(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value or ()
        groups = value if all(isinstance(group, list | tuple) for group in value) else [value]
        return tuple(tuple(str(key) for key in group) for group in groups)

    @field_validator("where", mode="before")
    @classmethod
    def _parse_where(cls, value: Any) -> Any:
        return Constraint(str(value)) if value and not isinstance(value, Constraint) else value or None

    @field_validator("maximize", "minimize", mode="before")
    @classmethod
    def _parse_names(cls, value: Any) -> Any:
        names = value if isinstance(value, list | tuple) else [value]
        return tuple(str(name) for name in names if name is not None)

    @field_validator("stop", mode="before")
    @classmethod
    def _parse_metric(cls, value: Any) -> Any:
        return value.removeprefix("scores.") if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_stop(self) -> SweepSettings:
        if self.stop is not None and self.isolated:
            raise ValueError("stop compares points of one process: it excludes workers, timeout and fail_fast")
        return self

    @property
    def in_workers(self) -> bool:
        """Whether the points run in worker processes."""
        return self.workers > 1 or self.timeout is not None

    @property
    def isolated(self) -> bool:
        """Whether each point runs separately instead of in a batch with others."""
        return self.in_workers or self.fail_fast

    def allows(self, read_key: ReadKey) -> bool:
        """Whether the point whose keys `read_key` reads fulfills the constraint."""
        return self.where is None or self.where.holds(read_key)


def parse_settings(overrides: Sequence[str]) -> tuple[list[str], SweepSettings]:
    """The overrides of the config, and the settings from the overrides of `sweep.*`. Raises ConfigError."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create()
    values: dict[str, Any] = {}
    for override in overrides:
        if not override.lstrip("+").startswith(SWEEP):
            continue
        parsed = parser.parse_override(override)
        if parsed.is_sweep_override():
            raise ConfigError(Problem("a setting of the sweep must have one value", parsed.key_or_group))
        values[parsed.key_or_group.removeprefix(SWEEP)] = parsed.value()
    names = list(SweepSettings.model_fields)
    if unknown := sorted(values.keys() - set(names)):
        examples = "sweep.zip=[[key,key]], sweep.where='key == value'"
        raise ConfigError(
            [
                Problem(f"unknown setting {name!r}", f"{SWEEP}{name}", hint=f"{did_you_mean(name, names)}; {examples}")
                for name in unknown
            ]
        )
    try:
        return without_sweep_settings(overrides), SweepSettings(**values)
    except ValidationError as error:
        raise ConfigError(field_problems(error, SweepSettings, SWEEP.rstrip("."), values)) from None


def without_sweep_settings(overrides: Sequence[str]) -> list[str]:
    """The overrides without those of `sweep.*`, which are not part of the config."""
    return [override for override in overrides if not override.lstrip("+").startswith(SWEEP)]
