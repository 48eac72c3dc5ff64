"""Finished traces and their scores go into TruLens's own database: its leaderboard and dashboard open on them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from llmops_flows.core.errors import BackendError
from llmops_flows.core.locks import locked
from llmops_flows.core.trace import Exporter, Trace
from llmops_flows.integrations.lazy import SLOW_FORMATS, load

from .events import App, app_of, events

EXTRA = "trulens"


class TruLens(Exporter):
    """Writes traces as TruLens records. The same answer to the same question by the same version is one record.

    The app is the flow, its version the chosen options and the address of the flow; the record's id is the id of the
    first trace that gave this answer. Scores that come later join the record.

    Attributes:
        path: the database, a SQLite file, made when it is not there.
        app_version: what the version is called on the leaderboard; None tells it from the config.
    """

    requires: ClassVar[tuple[str, ...]] = ("trulens",)
    extra: ClassVar[str] = EXTRA
    patience: ClassVar[float] = 60.0
    path: Path
    app_version: str | None = None

    def prepare(self) -> None:
        with _quiet():
            load("trulens.core.database.connector", EXTRA, "tracer=trulens", without=SLOW_FORMATS)

    def deliver(self, traces: Sequence[Trace]) -> list[str]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.prepare()
        with _quiet(), locked(self.path.with_name(f"{self.path.name}.lock")):
            try:
                connector = connected(self.path)
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
        known: set[App] = set()
        with connector.db.session.begin() as session:
            for trace in traces:
                app = app_of(trace, self.app_version)
                made = events(trace, app, trace.id)
                first = session.get(orm, made[0]["event_id"])
                if first is not None:
                    known_as = first.record_attributes["ai.observability.record_id"]
                    again = events(trace, app, known_as)
                    made = [one for one in again if _news(one, session.get(orm, one["event_id"]))]
                for one in made:
                    session.merge(orm.parse(event(**one)))
                known.add(app)
        for app in known:
            _register(connector, app)


def _news(event: dict[str, Any], there: Any) -> bool:
    """Whether an event tells of a score that its record does not have yet; what scoring cost stays as it was."""
    told = event["record_attributes"]
    if told["ai.observability.span_type"] not in ("eval_root", "eval"):
        return False
    scores = ("ai.observability.eval_root.score", "ai.observability.eval.score")
    return there is None or any(there.record_attributes.get(name) != told.get(name) for name in scores)


def connected(path: Path) -> Any:
    """A connector to the database, whose tables are made or brought up to date first. One process at a time."""
    connectors: Any = load("trulens.core.database.connector", EXTRA)
    url = f"sqlite:///{path.resolve()}"
    connector = connectors.DefaultDBConnector(database_url=url, database_check_revision=False)
    revisions = load("trulens.core.database.migrations", EXTRA).DbRevisions.load(connector.db.engine)
    if not revisions.in_sync:
        connector.db.migrate_database()
    return connector


def _register(connector: Any, app: App) -> None:
    definition: Any = load("trulens.core.schema.app", EXTRA).AppDefinition
    told = definition(app_name=app.name, app_version=app.version, root_class=None, app={})
    if connector.get_app(app.id) is None:
        connector.add_app(app=told)


@contextmanager
def _quiet() -> Iterator[None]:
    """TruLens and alembic tell of every row; whoever asked for the delivery tells of failures."""
    loggers = [logging.getLogger(name) for name in ("trulens", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
