"""Opens the store, the traces and the indexes of a config without building its flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from llmops_flows.components.tracer.local import LocalTracer
from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.store import MaintainedStore
from llmops_flows.core.trace import Exporter
from llmops_flows.stores.store_config import StoreConfig
from llmops_flows.tracing.trace_store import TraceStore

from .builder import Builder, trusted_packages
from .compose import compose

Result = TypeVar("Result")


@dataclass(frozen=True)
class Storage:
    """The storage of a config. `traces` is None if no traces are stored; `home` holds the indexes."""

    store: StoreConfig
    home: Path
    traces: LocalTracer | None


def load_storage(overrides: Sequence[str]) -> Storage:
    """The storage that overrides describe. No other component is built, and no flow is needed.

    Raises:
        ConfigError: with every problem of the config, or because it stores no answers.
    """
    flow_given = any(word.partition("=")[0] in ("flow", "name") for word in overrides)
    try:
        config = compose([*([] if flow_given else ["name=store"]), *overrides]).plain
    except ConfigError as error:
        problems = [problem for problem in error.problems if problem.key != "stages"]
        raise ConfigError(problems or error.problems) from None
    builder = Builder(trusted=trusted_packages(config))
    store = builder.value(config.get("store"), "store")
    local = builder.value((config.get("tracer") or {}).get("local"), "tracer.local")
    builder.raise_problems()
    if not isinstance(store, StoreConfig):
        raise ConfigError(Problem("a store is required", key="store", hint="store=sqlite"))
    return Storage(store, Path(str(config["home"])), local if isinstance(local, LocalTracer) else None)


def load_outbox(overrides: Sequence[str]) -> tuple[TraceStore, dict[str, Exporter]]:
    """The trace store and the exporters that overrides describe. Raises ConfigError as `open_outbox` does."""
    return open_outbox(compose(overrides).plain)


def open_outbox(config: Mapping[str, Any]) -> tuple[TraceStore, dict[str, Exporter]]:
    """The trace store and the exporters of a resolved config. No other component is built.

    Raises:
        ConfigError: with every problem of these components, or because the config stores no traces.
    """
    builder = Builder(trusted=trusted_packages(config))
    tracers = {str(n): builder.value(c, f"tracer.{n}") for n, c in (config.get("tracer") or {}).items()}
    store = builder.value(config.get("store"), "store")
    builder.raise_problems()
    local = next((part for part in tracers.values() if isinstance(part, LocalTracer)), None)
    if local is None:
        raise ConfigError(Problem("a local trace store is required", key="tracer", hint="tracer=[local]"))
    read_values = store.open().values if isinstance(store, StoreConfig) else None
    return local.open(read_values), {name: part for name, part in tracers.items() if isinstance(part, Exporter)}


def maintain(storage: Storage, work: Callable[[MaintainedStore], Result]) -> Result | None:
    """The result of `work` on the opened store; None if the store does not exist, which is then not created.

    Raises:
        ConfigError: the store cannot be maintained.
    """
    if not storage.store.may_hold_entries:
        return None
    store = storage.store.open()
    try:
        if not isinstance(store, MaintainedStore):
            problem = f"{type(store).__name__} has no methods stats, verify and evict"
            raise ConfigError(Problem(problem, key="store", hint="see llmops_flows.core.store.MaintainedStore"))
        return work(store)
    finally:
        store.close()
