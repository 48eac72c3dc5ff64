"""The TruLens database."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmops_flows.artifacts.lazy_import import load

from .events import TruLensApp

EXTRA = "trulens"


def has_new_score(event: dict[str, Any], there: Any) -> bool:
    """Whether an event tells of a score that its record does not have yet; what scoring cost stays as it was."""
    told = event["record_attributes"]
    if told["ai.observability.span_type"] not in ("eval_root", "eval"):
        return False
    scores = ("ai.observability.eval_root.score", "ai.observability.eval.score")
    return there is None or any(there.record_attributes.get(name) != told.get(name) for name in scores)


def open_connector(path: Path) -> Any:
    """A connector to the database, whose tables are made or brought up to date first. One process at a time."""
    connectors: Any = load("trulens.core.database.connector", EXTRA)
    url = f"sqlite:///{path.resolve()}"
    connector = connectors.DefaultDBConnector(database_url=url, database_check_revision=False)
    revisions = load("trulens.core.database.migrations", EXTRA).DbRevisions.load(connector.db.engine)
    if not revisions.in_sync:
        connector.db.migrate_database()
    return connector


def register_app(connector: Any, app: TruLensApp) -> None:
    definition: Any = load("trulens.core.schema.app", EXTRA).AppDefinition
    told = definition(app_name=app.name, app_version=app.version, root_class=None, app={})
    if connector.get_app(app.id) is None:
        connector.add_app(app=told)


@contextmanager
def quiet_logging() -> Iterator[None]:
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
