"""Seals: what makes a row of a store worthless once a bit of it was changed, or in another place or store."""

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
"""How long the account of a budget is kept after it was changed last."""


def seal(key: bytes, *parts: str | bytes) -> bytes:
    """HMAC-SHA256 over the parts; where one part ends and the next begins counts."""
    listed = [part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part for part in parts]
    lengths = b",".join([b"%d" % len(part) for part in listed])
    return hmac.digest(key, lengths + b":" + b"".join(listed), "sha256")


def seal_matches(kept: Any, key: bytes, table: str, *parts: Any) -> bool:
    """Whether a row is as it was written: the right types (texts, and bytes last), and every bit."""
    *texts, data = parts
    if type(kept) is not bytes or type(data) is not bytes or any(type(text) is not str for text in texts):
        return False
    return len(kept) == SEAL_BYTES and hmac.compare_digest(kept, seal(key, table, *parts))


def read_account(key: bytes, name: str, kept: Any, data: Any) -> bytes:
    """The account of a row. Raises StoreError: it is not as it was written, so that nobody knows what was spent."""
    if not seal_matches(kept, key, "account", name, data):
        raise StoreError(f"the account {name!r} of a budget is damaged: no call begins; start the command again")
    found: bytes = data
    return found


def sealing_key(path: Path) -> bytes:
    """The key of a store (32 bytes, mode 0600); the first process that wants it makes it, whole or not at all.

    Whoever can read it can forge answers: rights that a copy or a backup widened are taken back.

    Raises:
        StoreError: the file holds something else.
        OSError: it can be neither read nor made.
    """
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        _make(path)
        key = path.read_bytes()
    if len(key) != SEAL_BYTES:
        raise StoreError(
            f"the key {str(path)!r} is damaged ({len(key)} bytes, not {SEAL_BYTES}): put it back from a backup, or "
            "remove it, and everything is computed again"
        )
    _narrow(path)
    return key


def write_key(path: Path, key: bytes) -> None:
    """Write a key so that nobody else can read it, in place of what is there. Raises OSError."""
    draft = _draft(path, key)
    draft.replace(path)


def _make(path: Path) -> None:
    """A new key, unless another process was faster."""
    draft = _draft(path, secrets.token_bytes(SEAL_BYTES))
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


def _draft(path: Path, key: bytes) -> Path:
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


def _narrow(path: Path) -> None:
    if os.name == "posix" and path.stat().st_mode & 0o077:
        try:
            path.chmod(0o600)
        except OSError:
            return  # not ours to change: a store that is shared on purpose, or a read-only one
