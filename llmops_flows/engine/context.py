"""What all stages of a runner share: cache, stores, call gate, threads and budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llmops_flows.calls.budget_reservation import BudgetMeter
from llmops_flows.calls.gate import Gate
from llmops_flows.core.cache_policy import CachePolicy

from .answers.resilient_store import ResilientStore
from .threads import Threads


@dataclass(frozen=True, slots=True)
class ExecutionContext:
    """Shared by all runs of a runner.

    Attributes:
        cache: which questions count as equal, and whether answers are looked up at all.
        store: where answers are stored; None: only in memory, for the run.
        vectors: where embeddings are stored, even if answers are not.
        home: folder for built indexes and other artifacts.
        tenant: answers are never shared between tenants.
        gate: the call gate of all calls to services.
        threads: where blocking stages run.
        budget_meter: the budget that calls are charged to; None: no budget.
        warn: takes a topic and a message, and logs the first message of each topic.
    """

    cache: CachePolicy
    store: ResilientStore | None
    vectors: ResilientStore | None
    home: Path | None
    tenant: str
    gate: Gate
    threads: Threads
    budget_meter: BudgetMeter | None
    warn: Callable[[str, str], None]
