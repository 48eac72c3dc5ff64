"""SQLite transactions that no other process can interleave with, and connections that close with their owner."""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def transaction(db: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Run `work` in one transaction, and roll it back if `work` raises.

    The write lock is acquired before the first read, so that SQLite never aborts the transaction halfway.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        result = work(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return result


def close_with(owner: object, db: sqlite3.Connection) -> weakref.finalize[..., Any]:
    """Close a connection when its owner is garbage-collected. Call the result to close it earlier."""
    finalizer = weakref.finalize(owner, _close, db, os.getpid())
    finalizer.atexit = False
    return finalizer


def _close(db: sqlite3.Connection, pid: int) -> None:
    if pid == os.getpid():
        db.close()
    else:
        _inherited.append(db)


_inherited: list[sqlite3.Connection] = []
"""Connections that were inherited through a fork. Closing them would break the connections of the parent."""
