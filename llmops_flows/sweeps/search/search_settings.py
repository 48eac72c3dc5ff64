"""The settings of a search: the keys of `hydra.sweeper` with `hydra/sweeper=optuna`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator


class SearchSettings(BaseModel):
    """The settings of a search.

    Attributes:
        n_trials: number of points. The same command with a larger number adds points.
        n_jobs: number of points that are proposed and run together.
        sampler: tpe, random, grid, nsga2 or cmaes.
        sampler_options: arguments of the sampler's class in Optuna.
        seed: the seed of the proposals; null uses a random seed.
        study_name: null derives it from the search, so that a changed pipeline starts a new study.
        storage: a file, or a storage URL of Optuna; null is `optuna.db` in the home.
        maximize, minimize: the objectives if `sweep.maximize` and `sweep.minimize` name none.
        params: key to its values in Hydra's grammar. The command line overrides it.
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
    def _parse_names(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value or ()

    @field_validator("params", mode="before")
    @classmethod
    def _parse_params(cls, value: Any) -> Any:
        """Convert values that YAML reads as numbers or lists to text in the override grammar."""
        if not isinstance(value, dict):
            return value or {}
        return {key: ",".join(map(str, v)) if isinstance(v, list) else str(v) for key, v in value.items()}
