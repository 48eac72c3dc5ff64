"""Finished traces and their scores go into TruLens's own database: its leaderboard and dashboard open on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from llmops_flows.artifacts.file_locks import locked
from llmops_flows.artifacts.lazy_import import SLOW_FORMATS, load
from llmops_flows.core.errors import BackendError
from llmops_flows.core.trace import Exporter, Trace
from llmops_flows.integrations.trulens.database import EXTRA, has_new_score, open_connector, quiet_logging, register_app
from llmops_flows.integrations.trulens.events import TruLensApp, trulens_app, trulens_events


class TruLensExporter(Exporter):
    """Writes traces as TruLens records. The same answer to the same question by the same version is one record.

    The app is the flow, its version the chosen options and the address of the flow; the record's id is the id of the
    first trace that gave this answer. Scores that come later join the record.

    Attributes:
        path: the database, a SQLite file, made when it is not there.
        app_version: what the version is called on the leaderboard; None tells it from the config.
    """

    requires: ClassVar[tuple[str, ...]] = ("trulens",)
    extra: ClassVar[str] = EXTRA
    shutdown_timeout: ClassVar[float] = 60.0
    path: Path
    app_version: str | None = None

    def prepare(self) -> None:
        with quiet_logging():
            load("trulens.core.database.connector", EXTRA, "tracer=trulens", without=SLOW_FORMATS)

    def deliver(self, traces: Sequence[Trace]) -> list[str]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.prepare()
        with quiet_logging(), locked(self.path.with_name(f"{self.path.name}.lock")):
            try:
                connector = open_connector(self.path)
                try:
                    self._write(connector, traces)
                finally:
                    connector.db.engine.dispose()
            except OSError as error:
                raise BackendError(f"TruLens's database {str(self.path)!r} cannot be written: {error}") from error
            except load("sqlalchemy.exc", EXTRA).SQLAlchemyError as error:
                told = str(error).splitlines()[0]
                raise BackendError(f"TruLens's database {str(self.path)!r} failed: {told}") from error
        return [trace.id for trace in traces]

    def _write(self, connector: Any, traces: Sequence[Trace]) -> None:
        orm, event = connector.db.orm.Event, load("trulens.core.schema.event", EXTRA).Event
        known: set[TruLensApp] = set()
        with connector.db.session.begin() as session:
            for trace in traces:
                app = trulens_app(trace, self.app_version)
                made = trulens_events(trace, app, trace.id)
                first = session.get(orm, made[0]["event_id"])
                if first is not None:
                    known_as = first.record_attributes["ai.observability.record_id"]
                    again = trulens_events(trace, app, known_as)
                    made = [one for one in again if has_new_score(one, session.get(orm, one["event_id"]))]
                for one in made:
                    session.merge(orm.parse(event(**one)))
                known.add(app)
        for app in known:
            register_app(connector, app)
