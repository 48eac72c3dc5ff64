"""`tracer=trulens`: finished traces and their scores are written to a TruLens database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from llmops_flows.core.trace import Exporter, Trace
from llmops_flows.integrations.trulens.database import EXTRA, import_database, write_traces


class TruLensExporter(Exporter):
    """Writes traces as TruLens records. The same answer to the same question by the same app version is one record.

    The app is the flow, its version the chosen options and the identity of the flow. The id of a record is the id of
    the first trace with this answer.

    Attributes:
        path: the database, a SQLite file; created if it does not exist.
        app_version: name of the version on the leaderboard; None derives it from the config.
    """

    requires: ClassVar[tuple[str, ...]] = ("trulens",)
    extra: ClassVar[str] = EXTRA
    shutdown_timeout: ClassVar[float] = 60.0
    path: Path
    app_version: str | None = None

    def prepare(self) -> None:
        import_database()

    def deliver(self, traces: Sequence[Trace]) -> list[str]:
        write_traces(self.path, traces, self.app_version)
        return [trace.id for trace in traces]
