"""The budget of a sweep, from its first point to the line that says what is left."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from llmops_flows.config.spending import SharedBudget
from llmops_flows.core.errors import ConfigError, FlowError


@contextmanager
def shared() -> Iterator[SharedBudget]:
    """What all points of a sweep are paid from. In the end, unless nothing ran, it says what was spent."""
    from llmops_flows.report import table

    budget, ran = SharedBudget(), True
    try:
        yield budget
    except ConfigError:
        ran = False
        raise
    finally:
        try:
            if ran and (found := budget.statement()) is not None:
                print(table.budget(found.data()), flush=True)
        except FlowError as error:
            print(f"what was spent of the budget is not known: {error}", file=sys.stderr)
        finally:
            budget.close()
