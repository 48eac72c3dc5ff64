"""How a search is to be made: what `hydra.sweeper` holds under `hydra/sweeper=optuna`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator


class SearchSettings(BaseModel):
    """How a search is to be made.

    Attributes:
        n_trials: points in all. The same command again goes on to this number, a larger one adds the rest.
        n_jobs: points that are proposed together and run side by side.
        sampler: tpe, random, grid, nsga2 or cmaes.
        sampler_options: arguments of the sampler's class in Optuna.
        seed: the same seed, the same proposals; null draws another one each time.
        study_name: null names it by what is searched, so that a changed pipeline begins a new study.
        storage: null is `optuna.db` in the home; a file, or an address that Optuna knows.
        maximize, minimize: figures of a summary, where `sweep.maximize` and `sweep.minimize` name none.
        params: key to its values in Hydra's grammar. The command line has the last word.
        max_error_rate: share of a point's answers and scores that may fail before the point counts as failed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    n_trials: int = Field(default=20, ge=1)
    n_jobs: int = Field(default=4, ge=1, le=1000)
    sampler: str = "tpe"
    sampler_options: dict[str, Any] = {}
    seed: int | None = Field(default=0, ge=0)
    study_name: str | None = None
    storage: str | None = None
    maximize: tuple[str, ...] = ()
    minimize: tuple[str, ...] = ()
    params: dict[str, str] = {}
    max_error_rate: float = Field(default=0.0, ge=0, le=1)

    @field_validator("maximize", "minimize", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value or ()

    @field_validator("params", mode="before")
    @classmethod
    def _grammar(cls, value: Any) -> Any:
        """What YAML takes for a number or a list is text of the override grammar here."""
        if not isinstance(value, dict):
            return value or {}
        return {key: ",".join(map(str, v)) if isinstance(v, list) else str(v) for key, v in value.items()}
