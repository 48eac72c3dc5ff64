"""The documentation site: its navigation, its links, the Python API that it documents, and how it is built."""

from __future__ import annotations

import logging
import re
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import griffe
import pytest
import yaml

import llmops_flows

from .support.browser import show

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
CONFIG: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
DOCUMENTED = {
    path.name: re.findall(r"^::: (\S+)$", path.read_text(), re.MULTILINE) for path in (DOCS / "reference").glob("*.md")
}
IDENTIFIERS = sorted(identifier for identifiers in DOCUMENTED.values() for identifier in identifiers)
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
EXTERNAL = re.compile(r"""<(?:script|link|img|iframe)[^>]*\s(?:src|href)=["']?((?:https?:)?//[^"' >]+)""")


def nav_files(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, dict):
        yield from nav_files(list(entry.values()))
    else:
        for item in entry:
            yield from nav_files(item)


def test_the_navigation_lists_every_page_once() -> None:
    pages = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
    assert sorted(nav_files(CONFIG["nav"])) == pages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_resolve(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    targets = [link.partition("#")[0] for link in LINK.findall(text) if "://" not in link]
    assert [target for target in targets if target and not (page.parent / target).exists()] == []


def test_links_between_pages_stay_inside_the_docs_folder() -> None:
    links = [(page, link) for page in DOCS.rglob("*.md") for link in LINK.findall(page.read_text())]
    targets = [(page.parent / link).resolve() for page, link in links if "://" not in link]
    outside = [target for target in targets if not target.is_relative_to(DOCS)]
    assert outside == []


def test_the_api_page_documents_every_public_name() -> None:
    assert sorted(DOCUMENTED["api.md"]) == sorted(f"llmops_flows.{name}" for name in llmops_flows.__all__)


@pytest.mark.parametrize("identifier", IDENTIFIERS)
def test_an_identifier_of_the_reference_imports(identifier: str) -> None:
    module, _, name = identifier.rpartition(".")
    assert getattr(import_module(module), name) is not None


def test_docstrings_of_the_reference_can_be_parsed(caplog: pytest.LogCaptureFixture) -> None:
    """The mistakes that make `make docs` fail, without its environment."""
    options = CONFIG["plugins"][-1]["mkdocstrings"]["handlers"]["python"]["options"]["docstring_options"]
    package = griffe.load("llmops_flows", search_paths=[ROOT])
    with caplog.at_level(logging.WARNING, logger="griffe"):
        for identifier in IDENTIFIERS:
            documented = package[identifier.partition(".")[2]]
            if documented.is_alias:
                documented = documented.final_target
            for item in (documented, *documented.members.values()):
                if item.docstring is not None and not item.is_alias and not item.name.startswith("_"):
                    item.docstring.parse("google", **options)
    assert caplog.messages == []


def test_the_site_is_built_without_services_of_others() -> None:
    assert CONFIG["strict"] is True
    assert CONFIG["theme"]["font"] is False
    assert "analytics" not in CONFIG["extra"]
    assert "repo_url" not in CONFIG  # the theme would ask the repository's host for the number of stars


@pytest.fixture(scope="module")
def site() -> Path:
    result = subprocess.run(["make", "docs"], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    return ROOT / "site"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_make_docs_builds_a_site_that_loads_nothing_from_other_hosts(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(list(nav_files(CONFIG["nav"])))
    assert {url for page in pages for url in EXTERNAL.findall(page.read_text())} == set()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_site_works_from_disk(site: Path) -> None:
    page = show(f"file://{site / 'index.html'}?q=guardrail", wait=8000)
    assert page.errors == ()
    assert "md-search-result__item" in page.html
