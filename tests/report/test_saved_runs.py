"""Saved runs are read from output folders, and named by the config keys that differ."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from llmops_flows.core.errors import FlowError
from llmops_flows.report.config_differences import ABSENT, differing_keys, differing_leaves
from llmops_flows.report.saved_runs import SavedRun, latest_sweep, read_run, read_sweep, row_question
from tests.support.sweeps import row


def save(folder: Path, *, config: dict[str, Any] | None = None, summary: dict[str, Any] | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / "results.jsonl").write_text(json.dumps(row("a", m=1.0)) + "\n")
    (folder / "config.json").write_text(json.dumps(config or {}))
    (folder / "summary.json").write_text(json.dumps(summary or {}))
    return folder


def varying(*configs: dict[str, Any], choices: tuple[dict[str, str], ...] = ()) -> dict[str, tuple[Any, ...]]:
    chosen = choices or ({},) * len(configs)
    variants = [SavedRun(str(n), config=c, choices=o) for n, (c, o) in enumerate(zip(configs, chosen, strict=True))]
    return {axis.key: axis.values for axis in differing_keys(variants)}


# -- folders ---------------------------------------------------------------------------------------------------------


def test_points_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (0, 2, 10):
        save(tmp_path / str(number))
    runs, failures = read_sweep(tmp_path)
    assert [run.name for run in runs] == ["0", "2", "10"] and not failures


def test_a_killed_point_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    save(tmp_path / "0")
    (tmp_path / "1").mkdir()
    (save(tmp_path / "2") / "results.jsonl").write_text('{"id": "a"')
    runs, failures = read_sweep(tmp_path)
    assert [run.name for run in runs] == ["0"]
    assert "did not finish" in failures["1"] and "cannot be read" in failures["2"]


def test_a_line_separator_in_an_answer_ends_no_line(tmp_path: Path) -> None:
    answer = "one\u2028two\u0085three"
    (tmp_path / "results.jsonl").write_text(
        json.dumps(row("a", answer=answer), ensure_ascii=False) + "\n", encoding="utf-8"
    )
    assert [line["answer"] for line in read_run(tmp_path).rows] == [answer]


def test_the_last_sweep_is_the_latest_by_date_and_time(tmp_path: Path) -> None:
    for place in ("2026-11-24/22-00-00/0", "2026-11-24/23-00-00/0", "2026-11-23/23-59-59/0"):
        save(tmp_path / place)
    (tmp_path / "2026-11-25" / "00-00-00").mkdir(parents=True)
    assert latest_sweep(tmp_path) == tmp_path / "2026-11-24" / "23-00-00"


def test_a_resumed_sweep_is_the_last_one(tmp_path: Path) -> None:
    for number, time in enumerate(("22-00-00", "23-00-00")):
        save(tmp_path / "2026-11-24" / time / "0")
        config = tmp_path / "2026-11-24" / time / "multirun.yaml"
        config.touch()
        os.utime(config, (100 - number, 100 - number))
    assert latest_sweep(tmp_path).name == "22-00-00"


def test_without_a_sweep_the_error_says_how_to_run_one(tmp_path: Path) -> None:
    for ask in (latest_sweep, read_sweep):
        with pytest.raises(FlowError, match="run one first"):
            ask(tmp_path / "multirun")


def test_choices_are_read_from_the_summary_or_from_hydra_yaml(tmp_path: Path) -> None:
    ours = read_run(save(tmp_path / "0", summary={"choices": {"prompt": "shop/v1"}, "run": "abc"}))
    assert (ours.choices, ours.run) == ({"prompt": "shop/v1"}, "abc")
    (save(tmp_path / "1") / ".hydra").mkdir()
    written = "hydra:\n  runtime:\n    choices:\n      prompt: shop/v2\n      hydra/output: default\n      x: null\n"
    (tmp_path / "1" / ".hydra" / "hydra.yaml").write_text(written)
    assert read_run(tmp_path / "1").choices == {"prompt": "shop/v2"}


def test_samples_of_one_question_share_its_id() -> None:
    assert [row_question(r) for r in ({"id": "a.1", "sample": 1}, {"id": "v1.2", "sample": None})] == ["a", "v1.2"]


# -- what varies -----------------------------------------------------------------------------------------------------


def test_only_differing_keys_are_found_at_any_depth() -> None:
    one, other = {"a": {"b": {"c": 1, "same": 2}}, "l": [1, 2]}, {"a": {"b": {"c": 3, "same": 2}}, "l": [1]}
    assert varying(one, other) == {"a.b.c": (1, 3), "l": ([1, 2], [1])}


def test_elements_of_a_list_of_parts_have_their_index() -> None:
    assert varying({"m": [{"x": 1}, {"x": 2}]}, {"m": [{"x": 1}, {"x": 3}]}) == {"m.1.x": (2, 3)}


def test_equal_values_of_different_types_differ() -> None:
    assert [axis.key for axis in differing_leaves([{"a": 1, "b": 0}, {"a": True, "b": 0.0}])] == ["a", "b"]


def test_different_classes_are_one_key() -> None:
    words = {"retriever": {"_target_": "shop.Words", "k": 2, "k1": 1.5}}
    meaning = {"retriever": {"_target_": "shop.ByMeaning", "k": 2, "embedder": {"_target_": "shop.Mini"}}}
    assert varying(words, meaning) == {"retriever": ("words", "by_meaning")}


def test_a_key_that_does_not_follow_from_the_option_is_kept() -> None:
    parts = [{"retriever": {"_target_": f"shop.{name}", "k": k}} for name in ("Words", "Mini") for k in (2, 4)]
    assert varying(*parts) == {"retriever": ("words", "words", "mini", "mini"), "retriever.k": (2, 4, 2, 4)}


def test_an_option_has_its_chosen_name() -> None:
    configs = [{"prompt": {"_target_": "shop.Prompt", "text": text}} for text in ("Be brief.", "Be kind.")]
    chosen = ({"prompt": "shop/v1"}, {"prompt": "shop/v2"})
    assert varying(*configs, choices=chosen) == {"prompt": ("v1", "v2")}


def test_copies_of_another_key_are_left_out() -> None:
    def config(size: int) -> dict[str, Any]:
        splitter = {"size": size}
        retriever = {"splitter": splitter}
        return {"splitter": splitter, "retriever": retriever, "stages": {"retrieve": retriever}}

    assert varying(config(100), config(200)) == {"splitter.size": (100, 200)}


def test_a_stage_with_its_own_config_is_kept() -> None:
    assert varying({"stages": {"ask": {"k": 1}}}, {"stages": {"ask": {"k": 2}}}) == {"stages.ask.k": (1, 2)}


def test_a_key_that_one_config_lacks_is_absent_there() -> None:
    assert varying({"a": 1}, {}) == {"a": (1, ABSENT)} and repr(ABSENT) == "—"


def test_a_single_run_has_no_differing_keys() -> None:
    assert varying({"a": 1}) == {}
