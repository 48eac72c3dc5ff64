"""Seals the rows of a store, so that a row that was changed, moved, or copied from another store is detected."""

from __future__ import annotations

import errno
import hmac
import os
import secrets
from pathlib import Path
from typing import Any

from llmops_flows.core.errors import StoreError

SEAL_BYTES = 32
"""Bytes of a key, and of a seal."""
ACCOUNT_SECONDS = 30 * 86_400.0
"""Seconds for which the account of a budget is stored after its last change."""


def seal(key: bytes, *parts: str | bytes) -> bytes:
    """HMAC-SHA256 over the parts and their lengths."""
    data = [part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part for part in parts]
    lengths = b",".join([b"%d" % len(part) for part in data])
    return hmac.digest(key, lengths + b":" + b"".join(data), "sha256")


def seal_matches(stored: Any, key: bytes, table: str, *parts: Any) -> bool:
    """Whether a row is unchanged: its parts are text, the last one is bytes, and the stored seal matches."""
    *texts, data = parts
    if type(stored) is not bytes or type(data) is not bytes or any(type(text) is not str for text in texts):
        return False
    return len(stored) == SEAL_BYTES and hmac.compare_digest(stored, seal(key, table, *parts))


def read_account(key: bytes, name: str, stored: Any, data: Any) -> bytes:
    """The account of a row. Raises StoreError if its seal does not match, since the amount spent is then unknown."""
    if not seal_matches(stored, key, "account", name, data):
        raise StoreError(f"the account {name!r} of a budget is damaged: no call starts; run the command again")
    account: bytes = data
    return account


def sealing_key(path: Path) -> bytes:
    """The key of a store (32 bytes, mode 0600), created by the first process that needs it.

    A process that can read the key can forge answers, so permissions that a copy or a backup has widened are reset.

    Raises:
        StoreError: the file holds something else.
        OSError: the file can be neither read nor created.
    """
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        _create_key(path)
        key = path.read_bytes()
    if len(key) != SEAL_BYTES:
        raise StoreError(
            f"the key {str(path)!r} is damaged ({len(key)} bytes, not {SEAL_BYTES}): put it back from a backup, or "
            "remove it, and everything is computed again"
        )
    if os.name == "posix" and path.stat().st_mode & 0o077:
        try:
            path.chmod(0o600)
        except OSError:
            pass  # another user's file: the store is shared on purpose, or read-only
    return key


def write_key(path: Path, key: bytes) -> None:
    """Write a key that only its owner can read, in place of an existing file. Raises OSError."""
    _write_draft(path, key).replace(path)


def _create_key(path: Path) -> None:
    """Create a key, unless another process creates it at the same time."""
    draft = _write_draft(path, secrets.token_bytes(SEAL_BYTES))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        if not path.exists():  # a file system without hard links
            draft.replace(path)
            return
    finally:
        draft.unlink(missing_ok=True)


def _write_draft(path: Path, key: bytes) -> Path:
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return draft
