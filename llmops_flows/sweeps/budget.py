"""The budget of a sweep, from its first point to the line that says what is left."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmops_flows.calls.budget import Budget, Statement
from llmops_flows.calls.budget_meter import BudgetMeter
from llmops_flows.config.budget import _ledger, budget_warnings, log, with_account
from llmops_flows.core.errors import ConfigError, FlowError, Problem
from llmops_flows.core.lease_owner import new_owner
from llmops_flows.stores.store_config import StoreConfig

if TYPE_CHECKING:
    from llmops_flows.config.experiment import Experiment

    from .grid.points import Point


@contextmanager
def sweep_budget() -> Iterator[SharedBudget]:
    """What all points of a sweep are paid from. In the end, unless nothing ran, it says what was spent."""
    from llmops_flows.report.text import run_text

    budget, ran = SharedBudget(), True
    try:
        yield budget
    except ConfigError:
        ran = False
        raise
    finally:
        try:
            if ran and (found := budget.statement()) is not None:
                print(run_text.budget_text(found.data()), flush=True)
        except FlowError as error:
            print(f"what was spent of the budget is not known: {error}", file=sys.stderr)
        finally:
            budget.close()


class SharedBudget:
    """The budget of a sweep, paid from one account by all its points, wherever they run.

    `account` is its name: "" while no point has a budget.
    """

    def __init__(self) -> None:
        self.account = ""
        self._means: tuple[Budget, str] | None = None
        self._meter: BudgetMeter | None = None
        self._store: Any = None
        self._noted: set[str] = set()

    def of(self, cells: Sequence[Point]) -> list[Point]:
        """The cells, paid from the account, which is opened when it is first needed.

        Raises:
            ConfigError: they do not have one budget, in one store.
            StoreError: the store cannot be reached.
        """
        experiments = [cell.experiment for cell in cells if cell.experiment is not None]
        for experiment in experiments:
            self._join(experiment)
        for told in dict.fromkeys(note for experiment in experiments for note in budget_warnings(experiment)):
            if told not in self._noted:
                log.warning("%s", told)
            self._noted.add(told)
        if not self.account:
            return list(cells)
        return [
            cell if cell.experiment is None else replace(cell, experiment=with_account(cell.experiment, self.account))
            for cell in cells
        ]

    def statement(self) -> Statement | None:
        """What was spent until now; None where there is no budget. Raises StoreError."""
        return None if self._meter is None else self._meter.statement()

    def close(self) -> None:
        """Let go of the store."""
        if self._store is not None:
            self._store.close()

    def _join(self, experiment: Experiment) -> None:
        budget, store = experiment.settings.budget, experiment.store
        means = budget, store.configuration if store is not None and budget.limited else ""
        if self._means is None:
            self._means = means
            if budget.limited:
                self._store = store.open() if isinstance(store, StoreConfig) else None
                self._meter = BudgetMeter(budget, _ledger(self._store), account := new_owner())
                self.account = account
        elif means[0] != self._means[0]:
            raise ConfigError(
                Problem("a sweep has one budget, for all its points", key="budget", hint="give one value")
            )
        elif means != self._means:
            hint = "give one store, or no budget"
            raise ConfigError(Problem("a budget is kept in one store, and the points have several", "store", hint=hint))
