"""A real Chromium, headless: what a page looks like to a reader after its script ran."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from .required import missing

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((path for name in NAMES if (path := shutil.which(name))), None)
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-sync",
    "--disable-extensions", "--enable-logging=stderr", "--v=0",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A page after its script ran: `html` is its tree, `errors` what it wrote to the console."""

    html: str
    errors: tuple[str, ...]

    @property
    def parsed(self) -> Parsed:
        return Parsed.of(self.html)


class Parsed(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []

    @classmethod
    def of(cls, html: str) -> Parsed:
        parsed = cls()
        parsed.feed(html)
        return parsed

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def count(self, tag: str) -> int:
        return sum(1 for name, _ in self.elements if name == tag)

    @property
    def tags(self) -> set[str]:
        return {name for name, _ in self.elements}

    def text(self, *, without: tuple[str, ...] = ("script", "style")) -> str:
        return "".join(data for tag, data in self.texts if tag not in without)


def show(page: Path | str, *, height: int = 9000, wait: int = 4000) -> Shown:
    """Open a page (a file, or an address on loopback) and let its script run for `wait` milliseconds of its time."""
    if BROWSER is None:
        missing("chromium", "Chromium is not installed")
    address = f"file://{page}" if isinstance(page, Path) else page
    with tempfile.TemporaryDirectory(prefix="browser-") as profile:
        done = subprocess.run(
            [BROWSER, *_FLAGS, f"--user-data-dir={profile}", f"--window-size=1280,{height}",
             f"--virtual-time-budget={wait}", "--dump-dom", address],
            capture_output=True, text=True, timeout=100, errors="replace",
        )  # fmt: skip
    assert "</html>" in done.stdout, done.stderr[-2000:]
    said = re.findall(r'CONSOLE[^"]*"(.*)", source', done.stderr)
    return Shown(done.stdout, tuple(said))
