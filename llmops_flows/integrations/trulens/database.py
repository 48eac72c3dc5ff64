"""Writes traces into a TruLens database, a SQLite file that its leaderboard and dashboard read."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmops_flows.artifacts.file_locks import locked
from llmops_flows.artifacts.lazy_import import SLOW_FORMATS, load
from llmops_flows.core.errors import BackendError
from llmops_flows.core.trace import Trace

from .events import Attributes, TruLensApp, trulens_app, trulens_events

EXTRA = "trulens"


def import_database() -> None:
    """Import the modules that writing needs, which takes seconds. Raises MissingExtra."""
    with quiet_logging():
        load("trulens.core.database.connector", EXTRA, "tracer=trulens", without=SLOW_FORMATS)


def write_traces(path: Path, traces: Sequence[Trace], app_version: str | None) -> None:
    """Write traces as TruLens records; scores that arrive later are added to their record.

    Raises:
        BackendError: the file cannot be written, or the database refused the rows.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    import_database()
    with quiet_logging(), locked(path.with_name(f"{path.name}.lock")):
        try:
            connector = open_connector(path)
            try:
                _write(connector, traces, app_version)
            finally:
                connector.db.engine.dispose()
        except OSError as error:
            raise BackendError(f"TruLens's database {str(path)!r} cannot be written: {error}") from error
        except load("sqlalchemy.exc", EXTRA).SQLAlchemyError as error:
            raise BackendError(f"TruLens's database {str(path)!r} failed: {str(error).splitlines()[0]}") from error


def _write(connector: Any, traces: Sequence[Trace], app_version: str | None) -> None:
    orm, event = connector.db.orm.Event, load("trulens.core.schema.event", EXTRA).Event
    apps: set[TruLensApp] = set()
    with connector.db.session.begin() as session:
        for trace in traces:
            app = trulens_app(trace, app_version)
            rows = trulens_events(trace, app, trace.id)
            stored = session.get(orm, rows[0]["event_id"])
            if stored is not None:
                record_id = stored.record_attributes["ai.observability.record_id"]
                rows = trulens_events(trace, app, record_id)
                rows = [row for row in rows if _has_new_score(row, session.get(orm, row["event_id"]))]
            for row in rows:
                session.merge(orm.parse(event(**row)))
            apps.add(app)
    definition: Any = load("trulens.core.schema.app", EXTRA).AppDefinition
    for app in apps:
        if connector.get_app(app.id) is None:
            connector.add_app(app=definition(app_name=app.name, app_version=app.version, root_class=None, app={}))


def _has_new_score(event: Attributes, stored: Any) -> bool:
    """Whether an event adds a score to its record. The stored cost of a score does not change."""
    attributes = event["record_attributes"]
    if attributes["ai.observability.span_type"] not in ("eval_root", "eval"):
        return False
    scores = ("ai.observability.eval_root.score", "ai.observability.eval.score")
    return stored is None or any(stored.record_attributes.get(name) != attributes.get(name) for name in scores)


def open_connector(path: Path) -> Any:
    """A connector to the database, with its tables created or migrated. The caller holds the file lock."""
    connectors: Any = load("trulens.core.database.connector", EXTRA)
    url = f"sqlite:///{path.resolve()}"
    connector = connectors.DefaultDBConnector(database_url=url, database_check_revision=False)
    revisions = load("trulens.core.database.migrations", EXTRA).DbRevisions.load(connector.db.engine)
    if not revisions.in_sync:
        connector.db.migrate_database()
    return connector


@contextmanager
def quiet_logging() -> Iterator[None]:
    """Hide the log lines and warnings that TruLens and alembic produce for each row."""
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
