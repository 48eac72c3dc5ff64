"""Trouble with a disk is known for what it is, whoever tells it, and before anything is written."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from llmops_flows.artifacts.disk_errors import disk_error, unwritable, with_disk_hint
from llmops_flows.core.errors import StoreError
from tests.support.file_damage import read_only, small_disk


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        (sqlite3.OperationalError("database or disk is full"), "database or disk is full"),
        (RuntimeError("Query error: (code: 13) database or disk is full"), "database or disk is full"),
        (shutil.Error([("a", "b", "[Errno 28] No space left on device")]), "No space left on device"),
        (RuntimeError("IO error: No space left on device (os error 28)"), "No space left on device"),
        (OSError(errno.ECONNREFUSED, "Connection refused"), ""),
        (ValueError("the disk is round"), ""),
    ],
)
def test_an_error_of_any_library_is_known_as_the_disk_s(error: Exception, told: str) -> None:
    assert disk_error(error) == told
    assert ("home=FOLDER" in with_disk_hint(error)) is bool(told)


def test_a_folder_that_can_be_written_or_made_has_no_trouble_and_is_not_made(tmp_path: Path) -> None:
    assert unwritable(tmp_path) == unwritable(tmp_path / "new" / "deep") == ""
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert unwritable(tmp_path / "file" / "home") == f"{str(tmp_path / 'file')!r} is a file"


def test_a_folder_that_can_only_be_read_is_told(tmp_path: Path) -> None:
    with read_only(tmp_path):
        assert unwritable(tmp_path / "home") in ("Read-only file system", "Permission denied")


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small") as disk:
        assert unwritable(disk / "home") == ""
        (disk / "fill").write_bytes(bytes(1_500_000))
        assert unwritable(disk / "home") == "No space left on device"


def test_a_store_on_a_full_disk_says_where_and_how_to_mend(tmp_path: Path) -> None:
    from llmops_flows.core.store import Entry
    from llmops_flows.stores.sqlite_store import SQLiteStore

    with small_disk(tmp_path / "small") as disk:
        store = SQLiteStore(disk / "store.sqlite")
        with pytest.raises(StoreError, match=r"store\.sqlite' failed: .*full; free space there.* home=FOLDER"):
            store.put({"k": Entry("a", b"{}")}, {"a": os.urandom(3_000_000)})
        store.close()
