"""What a config keeps, and where: the store of answers, the traces, the folder of indexes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmops_flows.components.tracer.local import LocalTracer
from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.stores.store_config import StoreConfig

from .builder import Builder
from .experiment import trusted_packages


@dataclass(frozen=True)
class Storage:
    """Where a config keeps things. `traces`: None where none are kept."""

    store: StoreConfig
    home: Path
    traces: LocalTracer | None


def load_storage(overrides: Sequence[str]) -> Storage:
    """What the config keeps that overrides describe; no other part of it is built, and no flow is needed.

    Raises:
        ConfigError: with everything that is wrong, or because no answers are kept.
    """
    from .compose import compose

    named = any(word.partition("=")[0] in ("flow", "name") for word in overrides)
    try:
        config = compose([*([] if named else ["name=store"]), *overrides]).plain
    except ConfigError as error:
        raise ConfigError(
            [problem for problem in error.problems if problem.key != "stages"] or error.problems
        ) from None
    builder = Builder(trusted=trusted_packages(config))
    store = builder.value(config.get("store"), "store")
    local = builder.value((config.get("tracer") or {}).get("local"), "tracer.local")
    builder.done()
    if not isinstance(store, StoreConfig):
        raise ConfigError(Problem("no answers are kept", key="store", hint="store=sqlite"))
    return Storage(store, Path(str(config["home"])), local if isinstance(local, LocalTracer) else None)
