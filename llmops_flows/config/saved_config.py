"""Writes the files that Hydra writes for a job, under the same paths, with secrets redacted."""

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
    """Write `.hydra/config.yaml`, `hydra.yaml` and `overrides.yaml` to the folder of a job.

    Hydra itself writes nothing (`hydra.output_subdir: null`), since it would write secrets.
    """
    output = folder / FOLDER
    output.mkdir(parents=True, exist_ok=True)
    hydra_config = OmegaConf.to_container(hydra, resolve=False) if isinstance(hydra, DictConfig) else {}
    assert isinstance(hydra_config, Mapping)
    write_atomically(output / "config.yaml", _yaml(OmegaConf.to_container(config, resolve=False)))
    write_atomically(output / "hydra.yaml", _yaml({"hydra": hydra_config}))
    write_atomically(output / "overrides.yaml", _yaml(hydra_config["overrides"]["task"]))


def write_sweep(folder: Path, config: DictConfig) -> None:
    """Write `multirun.yaml` to the folder of a sweep, as the sweeper of Hydra does."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "multirun.yaml", _yaml(OmegaConf.to_container(config, resolve=False)))


@contextmanager
def redacted_saves() -> Iterator[None]:
    """Within the block, OmegaConf.save redacts secrets: sweepers save the config with it."""
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
