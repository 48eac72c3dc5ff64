"""Exports traces to a CSV file."""

import csv
from collections.abc import Sequence
from pathlib import Path

from llmops_flows import Exporter, Trace


class CsvFile(Exporter):
    """Appends one line for each trace: id, flow, duration in seconds, error.

    Attributes:
        path: the file, created with the first trace.
    """

    path: Path

    def deliver(self, traces: Sequence[Trace]) -> list[str]:
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([trace.id, trace.flow, trace.seconds, trace.error] for trace in traces)
        return [trace.id for trace in traces]
