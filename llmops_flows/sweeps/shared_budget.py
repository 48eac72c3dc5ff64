"""The budget that all points of a sweep share."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from llmops_flows.calls.budget_account import Budget, Statement
from llmops_flows.calls.budget_reservation import BudgetMeter
from llmops_flows.config.experiment import Experiment
from llmops_flows.config.run_budget import account_ledger, budget_warnings, with_account
from llmops_flows.core.errors import ConfigError, FlowError, Problem
from llmops_flows.core.lease_owner import new_owner
from llmops_flows.report.text import run_text
from llmops_flows.stores.store_config import StoreConfig

from .grid.points import Point

log = logging.getLogger("llmops_flows")


@contextmanager
def sweep_budget() -> Iterator[SharedBudget]:
    """The budget of a sweep. Print the amount spent at the end, unless the config is invalid."""
    budget, ran = SharedBudget(), True
    try:
        yield budget
    except ConfigError:
        ran = False
        raise
    finally:
        try:
            if ran and (statement := budget.statement()) is not None:
                print(run_text.budget_text(statement.data()), flush=True)
        except FlowError as error:
            print(f"the amount spent cannot be read: {error}", file=sys.stderr)
        finally:
            budget.close()


class SharedBudget:
    """The budget account of all points of a sweep, in all processes.

    Attributes:
        account: the name of the account; "" if no point has a budget.
    """

    def __init__(self) -> None:
        self.account = ""
        self._shared: tuple[Budget, str] | None = None
        self._meter: BudgetMeter | None = None
        self._store: Any = None
        self._logged: set[str] = set()

    def apply(self, points: Sequence[Point]) -> list[Point]:
        """The points, charged to the account. The first call opens it.

        Raises:
            ConfigError: the points have several budgets, or several stores.
            StoreError: the store cannot be reached.
        """
        experiments = [point.experiment for point in points if point.experiment is not None]
        for experiment in experiments:
            self._share(experiment)
        for note in dict.fromkeys(note for experiment in experiments for note in budget_warnings(experiment)):
            if note not in self._logged:
                log.warning("%s", note)
            self._logged.add(note)
        if not self.account:
            return list(points)
        return [
            replace(p, experiment=with_account(p.experiment, self.account)) if p.experiment is not None else p
            for p in points
        ]

    def statement(self) -> Statement | None:
        """The amount spent; None without a budget. Raises StoreError."""
        return None if self._meter is None else self._meter.statement()

    def close(self) -> None:
        """Close the store of the account."""
        if self._store is not None:
            self._store.close()

    def _share(self, experiment: Experiment) -> None:
        """Open the account for the first experiment; check that the others have the same budget and store."""
        budget, store = experiment.settings.budget, experiment.store
        required = budget, store.configuration if store is not None and budget.limited else ""
        if self._shared is None:
            self._shared = required
            if budget.limited:
                self._store = store.open() if isinstance(store, StoreConfig) else None
                account = new_owner()
                self._meter = BudgetMeter(budget, account_ledger(self._store), account)
                self.account = account
        elif budget != self._shared[0]:
            raise ConfigError(Problem("all points of a sweep share one budget", "budget", hint="give one value"))
        elif required != self._shared:
            hint = "give one store, or leave out the budget"
            raise ConfigError(Problem("a budget needs one store, but the points have several", "store", hint=hint))
