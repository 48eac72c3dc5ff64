"""The budget meter of an experiment, which the points of a sweep share."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmops_flows.calls.budget_account import Amount, Ledger
from llmops_flows.calls.budget_reservation import BudgetMeter, format_amount
from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.lease_owner import new_owner
from llmops_flows.core.roles import Model
from llmops_flows.core.stage import Part
from llmops_flows.stores.memory_store import LEDGER

if TYPE_CHECKING:
    from .experiment import Experiment

log = logging.getLogger("llmops_flows")
FREE = ("local", "llamacpp")
"""Providers of models that run in this process."""


def budget_meter(experiment: Experiment, store: Any) -> BudgetMeter | None:
    """The meter that an experiment's calls reserve from; None without a budget.

    Raises:
        StoreError: the store with the sweep's account cannot be reached.
        BudgetExceeded: the account does not exist.
    """
    budget = experiment.settings.budget
    if not budget.limited:
        return None
    if experiment.account:
        return BudgetMeter(budget, account_ledger(store), experiment.account, new=False)
    return BudgetMeter(budget, LEDGER, new_owner())


def with_account(experiment: Experiment, account: str) -> Experiment:
    """The experiment with a shared budget account. Raises ConfigError: it has a budget, and `account` is empty."""
    if experiment.settings.budget.limited and not account:
        hint = "remove hydra/sweeper (a launcher is fine), or remove the budget"
        raise ConfigError(
            Problem("the points of a sweep by hydra/sweeper cannot share a budget", key="budget", hint=hint)
        )
    return replace(experiment, account=account)


def account_ledger(store: Any) -> Ledger:
    """The ledger of accounts: the answer store if it can be one, so that all its users share a budget; else memory."""
    return store if isinstance(store, Ledger) else LEDGER


def budget_warnings(experiment: Experiment) -> list[str]:
    """A warning for each model that the budget cannot limit, or that one call may take over the budget."""
    budget, warnings = experiment.settings.budget, dict[str, None]()
    if not budget.limited:
        return []
    for model in _models([*(stage for _, stage in experiment.flow.leaves()), *experiment.evaluators.values()]):
        cost = Amount.of(model.max_cost({}))
        if budget.usd is not None and not cost.usd and model.backend and model.provider not in FREE:
            hint = "set prices.input and prices.output of the model (USD per million tokens)"
            warnings[f"budget.usd={budget.usd:g} does not limit {model.name}, which has no price: {hint}"] = None
        for name, limit in budget.limits():
            if getattr(cost, name) > limit:
                setting, max_cost = (
                    f"budget.{name}={getattr(budget, name):.15g}",
                    format_amount(name, getattr(cost, name)),
                )
                why = f"which may cost {max_cost} (max_tokens={model.max_tokens}): only cached answers are returned"
                warnings[f"{setting} does not allow one call of {model.name}, {why}"] = None
    return list(warnings)


def _models(node: Any) -> Iterator[Model]:
    """Every model in a config value, components within components included."""
    if isinstance(node, Model):
        yield node
    if isinstance(node, Part):
        yield from _models([getattr(node, name) for name in type(node).model_fields])
    elif isinstance(node, Mapping):
        yield from _models(list(node.values()))
    elif isinstance(node, (list, tuple)):
        for inner in node:
            yield from _models(inner)
