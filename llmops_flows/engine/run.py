"""A run: one flow over its records."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmops_flows.core.flow import Flow
from llmops_flows.core.record import Record
from llmops_flows.core.stage import Stage


@dataclass(frozen=True)
class Run:
    """One run. Several may execute together, as the points of a sweep do.

    Attributes:
        flow: the flow.
        records: the records, which the execution fills in. A record belongs to one run.
        evaluators: stages that score the records afterwards. A failing evaluator does not affect the answer.
        id: the id of this run.
        config: the config of the run as plain data, for the sinks.
        choices: config group to chosen option, for the sinks.
    """

    flow: Flow
    records: Sequence[Record]
    evaluators: Mapping[str, Stage] = field(default_factory=dict)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    config: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for record in self.records:
            record.run = self.id

    def stages(self) -> Iterator[tuple[str, Stage]]:
        """Every stage and evaluator with its name."""
        yield from self.flow.leaves()
        yield from self.evaluators.items()
