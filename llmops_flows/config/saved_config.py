"""The files that Hydra leaves beside a job, written by us: the same names, the same places, secrets masked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from llmops_flows.core.redaction import redact_value
from llmops_flows.report.run_files import write_atomically

FOLDER = ".hydra"


def write(folder: Path, config: DictConfig, hydra: Any) -> None:
    """Leave `.hydra/config.yaml`, `hydra.yaml` and `overrides.yaml` in a job's folder.

    Hydra's own writing is switched off (`hydra.output_subdir: null`), for it would put down what was typed.
    """
    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    about = OmegaConf.to_container(hydra, resolve=False) if isinstance(hydra, DictConfig) else {}
    assert isinstance(about, Mapping)
    write_atomically(place / "config.yaml", _yaml(OmegaConf.to_container(config, resolve=False)))
    write_atomically(place / "hydra.yaml", _yaml({"hydra": about}))
    write_atomically(place / "overrides.yaml", _yaml(about["overrides"]["task"]))


def write_sweep(folder: Path, config: DictConfig) -> None:
    """Leave `multirun.yaml` in a sweep's folder, as Hydra's own sweeper does."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "multirun.yaml", _yaml(OmegaConf.to_container(config, resolve=False)))


@contextmanager
def redacted_saves() -> Iterator[None]:
    """Within the block, whatever is saved through OmegaConf is masked: sweepers save the whole config that way."""
    original = OmegaConf.save

    def save(config: Any, f: Any, resolve: bool = False) -> None:
        plain = OmegaConf.to_container(config, resolve=resolve) if OmegaConf.is_config(config) else config
        original(OmegaConf.create(redact_value(plain)), f)

    OmegaConf.save = save  # type: ignore[method-assign]
    try:
        yield
    finally:
        OmegaConf.save = original  # type: ignore[method-assign]


def _yaml(value: Any) -> str:
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(redact_value(value), Dumper=dumper, sort_keys=False, allow_unicode=True)
    return text
