"""Our means equal those that others published for their sweeps, from the same rows."""

from __future__ import annotations

import csv
import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest

from llmops_flows.report.config_differences import differing_keys
from llmops_flows.report.saved_runs import SavedRun
from llmops_flows.report.score_table import ScoreTable

DATA = Path(__file__).parent.parent / "data" / "sweep_table_haystack"
KEYS = ("embedding", "top_k", "chunk_size")
METRICS = ("context_relevance", "faithfulness", "sas")


def published() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / "score_report.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def variants() -> list[SavedRun]:
    text = gzip.decompress((DATA / "detailed.csv.gz").read_bytes()).decode()
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for line in csv.DictReader(text.splitlines()):
        scores = {metric: float(line[metric]) if line[metric] else math.nan for metric in METRICS}
        point = tuple(line[key] for key in KEYS)
        found.setdefault(point, []).append({"id": line["question"], "sample": None, "error": None, "scores": scores})
    return [
        SavedRun(" ".join(point), config={"embedding": point[0], "top_k": int(point[1]), "chunk_size": int(point[2])},
                rows=rows)
        for point, rows in found.items()
    ]  # fmt: skip


def test_the_27_means_of_a_haystack_sweep_are_reproduced(variants: list[SavedRun]) -> None:
    wanted = {tuple(line[key] for key in KEYS): line for line in published()}
    assert len(variants) == len(wanted) == 27 and sum(len(v.rows) for v in variants) == 2889
    compared = 0
    for variant, scores in zip(variants, ScoreTable(variants).scores(), strict=True):
        line = wanted[tuple(variant.config[key] for key in KEYS)]
        for metric in METRICS:
            if math.isfinite(line[metric]):
                assert scores[metric].mean == pytest.approx(line[metric], abs=1e-9)
                compared += 1
    assert compared == 27 * 3 - 2


def test_the_two_rows_without_a_score_are_counted_as_unscored(variants: list[SavedRun]) -> None:
    unpublished = {tuple(line[key] for key in KEYS) for line in published() if math.isnan(line["faithfulness"])}
    scores = ScoreTable(variants).scores()
    skipped = {
        tuple(variant.config[key] for key in KEYS): found["faithfulness"]
        for variant, found in zip(variants, scores, strict=True)
        if found["faithfulness"].unscored
    }
    assert set(skipped) == unpublished and len(unpublished) == 2
    assert all(found.unscored == 1 and found.n == 106 and found.mean is not None for found in skipped.values())


def test_the_three_axes_of_that_sweep_are_the_differing_keys(variants: list[SavedRun]) -> None:
    assert {axis.key for axis in differing_keys(variants)} == set(KEYS)
