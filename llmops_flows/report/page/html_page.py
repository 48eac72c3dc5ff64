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


def write_page(path: Path, variants: Sequence[SavedRun], board: Leaderboard) -> Path:
    """Write the page, whole or not at all. Raises OSError where that is not possible."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(render_page(variants, board), encoding="utf-8")
    draft.replace(path)
    return path


def render_page(variants: Sequence[SavedRun], board: Leaderboard) -> str:
    """The page as text. Its policy lets it run its own script and style, by their digests, and load nothing.

    Data stands in it as JSON that cannot end its element; the script shows it as text, never as markup.
    """
    style, script = _part("page.css"), "\n".join(_part(name) for name in _SCRIPTS)
    policy = (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; {_only('style', style)}; {_only('script', script)}"
    )
    filled = {
        "POLICY": policy,
        "TITLE": html.escape(_printable(f"{board.flow or 'sweep'}: {plural(len(board.rows), 'point')}")),
        "STYLE": style,
        "SCRIPT": script,
        "DATA": script_json(page_data(variants, board)),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: filled[found[1]], _part("page.html"))


def script_json(value: object) -> str:
    """JSON that may stand in a script element of an HTML page: no markup, no halves of characters."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _SPECIAL.sub(lambda found: _ESCAPES.get(found[0]) or f"\\u{ord(found[0]):04x}", text)


def _only(kind: str, text: str) -> str:
    """The policy that allows this one inline style or script."""
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return f"{kind}-src 'sha256-{digest}'"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


@cache
def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")
