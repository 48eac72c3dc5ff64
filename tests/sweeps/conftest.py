"""Fixtures for the tests of searches."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmops_flows.cli.main import main
from llmops_flows.integrations.optuna import OptunaStudy, SearchParameter, StudyPlan
from tests.support.hill import FLOW, HILL


@pytest.fixture(scope="module")
def hill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project whose flow answers with the height of a hill."""
    folder = tmp_path_factory.mktemp("hill")
    files = {
        "a_hill.py": HILL,
        "conf/flow/hill.yaml": FLOW,
        "conf/model/hill.yaml": "_target_: a_hill.Hill\neast: 0.0\nnorth: 0\nside: south\nunused: 0\n",
        "conf/evaluator/height.yaml": "height: {_target_: a_hill.Height}\n",
        "conf/evaluator/secret.yaml": "secret: {_target_: a_hill.Secret}\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    yield folder
    sys.modules.pop("a_hill", None)


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage without a study. Creating one takes a second."""
    path = tmp_path_factory.mktemp("storage") / "empty.db"
    OptunaStudy("none", str(path), StudyPlan([SearchParameter("k", numbers=(0, 1))], [True]), {}).close()
    return path


@pytest.fixture
def search(hill: Path, empty: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a search in the project. Writes its results to the folder `results`."""
    monkeypatch.chdir(hill)
    monkeypatch.syspath_prepend(str(hill))
    for folder in ("results", "other", "again"):
        shutil.rmtree(hill / folder, ignore_errors=True)
    (hill / "calls.txt").unlink(missing_ok=True)
    shutil.copy(empty, home / "optuna.db")

    def run(*words: str, folder: str = "results") -> int:
        return main([*words, f"hydra.sweep.dir={folder}"])

    return run
