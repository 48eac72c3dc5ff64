"""The report of a sweep as one HTML page, which loads nothing and runs only its own script."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from llmops_flows.core.plural import plural

from ..leaderboard import Leaderboard
from ..saved_runs import SavedRun
from .page_data import page_data

_PARTS = Path(__file__).parent / "html"
_SCRIPTS = ("draw.js", "leaderboard.js", "plots.js", "answers.js", "stages.js", "main.js")
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_SPECIAL = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def write_page(path: Path, runs: Sequence[SavedRun], board: Leaderboard) -> Path:
    """Write the page atomically. Raises OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(render_page(runs, board), encoding="utf-8")
    draft.replace(path)
    return path


def render_page(runs: Sequence[SavedRun], board: Leaderboard) -> str:
    """The page as text. Its policy allows its own script and style, by their digests, and no other resource.

    The data is JSON that cannot end its element. The script shows it as text, never as markup.
    """
    style, script = _part("page.css"), "\n".join(_part(name) for name in _SCRIPTS)
    policy = (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; {_only('style', style)}; {_only('script', script)}"
    )
    values = {
        "POLICY": policy,
        "TITLE": html.escape(_printable(f"{board.flow or 'sweep'}: {plural(len(board.rows), 'point')}")),
        "STYLE": style,
        "SCRIPT": script,
        "DATA": script_json(page_data(runs, board)),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], _part("page.html"))


def script_json(value: object) -> str:
    """JSON for a script element of an HTML page, without markup and lone surrogates."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _SPECIAL.sub(lambda match: _ESCAPES.get(match[0]) or f"\\u{ord(match[0]):04x}", text)


def _only(kind: str, text: str) -> str:
    """The policy that allows this one inline style or script."""
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return f"{kind}-src 'sha256-{digest}'"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


@cache
def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")
