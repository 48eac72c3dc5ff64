"""From a budget in a config to the purse that calls are paid from: a run's own, or one that a whole sweep shares."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmops_flows.core.budget import Amount, Budget, Ledger, Statement
from llmops_flows.core.errors import ConfigError, Fault
from llmops_flows.core.owners import new_owner
from llmops_flows.core.purse import Purse
from llmops_flows.core.purse import told as counted
from llmops_flows.core.stage import Part
from llmops_flows.stages.roles import Model
from llmops_flows.stores.config import StoreConfig
from llmops_flows.stores.memory import LEDGER

if TYPE_CHECKING:
    from .cells import Cell
    from .experiment import Experiment

log = logging.getLogger("llmops_flows")
FREE = ("local", "llamacpp")
"""Providers of models that run in this process."""


def purse(experiment: Experiment, store: Any) -> Purse | None:
    """What an experiment's calls are paid from: its sweep's account, or one of its own; None where it has no budget.

    Raises:
        StoreError: the store with the sweep's account cannot be reached.
        BudgetExceeded: it has no such account.
    """
    budget = experiment.settings.budget
    if not budget.limited:
        return None
    if experiment.account:
        return Purse(budget, _ledger(store), experiment.account, new=False)
    return Purse(budget, LEDGER, new_owner())


def paid(experiment: Experiment, account: str) -> Experiment:
    """A point of a sweep, paid from its account. Raises ConfigError: it has a budget, and there is no account."""
    if experiment.settings.budget.limited and not account:
        mend = "leave hydra/sweeper out (a launcher may stay), or the budget"
        raise ConfigError(Fault("the points of this sweep cannot share a budget", key="budget", mend=mend))
    return replace(experiment, account=account)


def _ledger(store: Any) -> Ledger:
    """Where accounts are kept: with the answers, so that whoever shares these shares the budget; else in memory."""
    return store if isinstance(store, Ledger) else LEDGER


class SharedBudget:
    """The budget of a sweep, paid from one account by all its points, wherever they run.

    `account` is its name: "" while no point has a budget.
    """

    def __init__(self) -> None:
        self.account = ""
        self._means: tuple[Budget, str] | None = None
        self._purse: Purse | None = None
        self._store: Any = None
        self._noted: set[str] = set()

    def of(self, cells: Sequence[Cell]) -> list[Cell]:
        """The cells, paid from the account, which is opened when it is first needed.

        Raises:
            ConfigError: they do not have one budget, in one store.
            StoreError: the store cannot be reached.
        """
        experiments = [cell.experiment for cell in cells if cell.experiment is not None]
        for experiment in experiments:
            self._join(experiment)
        for told in dict.fromkeys(note for experiment in experiments for note in notes(experiment)):
            if told not in self._noted:
                log.warning("%s", told)
            self._noted.add(told)
        if not self.account:
            return list(cells)
        return [
            cell if cell.experiment is None else replace(cell, experiment=paid(cell.experiment, self.account))
            for cell in cells
        ]

    def statement(self) -> Statement | None:
        """What was spent until now; None where there is no budget. Raises StoreError."""
        return None if self._purse is None else self._purse.statement()

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
                self._purse = Purse(budget, _ledger(self._store), account := new_owner())
                self.account = account
        elif means[0] != self._means[0]:
            raise ConfigError(
                Fault("a sweep has one budget, for all its points", key="budget", mend="give one value")
            )
        elif means != self._means:
            mend = "give one store, or no budget"
            raise ConfigError(Fault("a budget is kept in one store, and the points have several", "store", mend=mend))


def notes(experiment: Experiment) -> list[str]:
    """A sentence for each model that the budget cannot limit, or does not allow a single call."""
    budget, found = experiment.settings.budget, dict[str, None]()
    if not budget.limited:
        return []
    for model in _models([*(stage for _, stage in experiment.flow.leaves()), *experiment.evaluators.values()]):
        cost = Amount.of(model.worst({}))
        if budget.usd is not None and not cost.usd and model.backend and model.provider not in FREE:
            mend = "give prices.input and prices.output of the model (USD per million tokens)"
            found[f"budget.usd={budget.usd:g} does not limit {model.name}, which has no price: {mend}"] = None
        for name, limit in budget.limits():
            if getattr(cost, name) > limit:
                given, most = f"budget.{name}={getattr(budget, name):.15g}", counted(name, getattr(cost, name))
                why = f"which may cost {most} (max_tokens={model.max_tokens}): only what is known is answered"
                found[f"{given} does not allow one call of {model.name}, {why}"] = None
    return list(found)


def _models(node: Any) -> Iterator[Model]:
    """Every model among parts, and in them."""
    if isinstance(node, Model):
        yield node
    if isinstance(node, Part):
        yield from _models([getattr(node, name) for name in type(node).model_fields])
    elif isinstance(node, Mapping):
        yield from _models(list(node.values()))
    elif isinstance(node, (list, tuple)):
        for one in node:
            yield from _models(one)
