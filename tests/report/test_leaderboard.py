"""The leaderboard ranks and compares all points, and fits the width of the terminal."""

from __future__ import annotations

import csv
import json

import pytest

from llmops_flows.core.errors import FlowError
from llmops_flows.report.leaderboard import as_csv, as_data, leaderboard
from llmops_flows.report.saved_runs import SavedRun
from llmops_flows.report.text.leaderboard_text import format_leaderboard, summary_sentences
from tests.support.sweeps import row, saved_run, sweep

LOW, HIGH = [0.1 * (n % 5) for n in range(30)], [0.1 * (n % 5) + 0.2 for n in range(30)]


def shop(k: int) -> dict[str, object]:
    return {"name": "shop", "retriever": {"_target_": "shop.Words", "k": k}, "evaluator": {"correctness": {}}}


def two() -> list[SavedRun]:
    return [saved_run("0", LOW, config=shop(2)), saved_run("1", HIGH, config=shop(8))]


def test_the_best_comes_first_and_is_compared_with_the_baseline() -> None:
    found = leaderboard(two())
    assert [line.name for line in found.rows] == ["1", "0"]
    assert found.rows[0].against["answer_correctness"].verdict == "better"
    said = " ".join(summary_sentences(found))
    assert "best: 1 (retriever.k=8)" in said and "against the baseline 0: better, +0.200" in said


def test_a_budget_is_not_a_differing_key() -> None:
    configs = [{**shop(k), "budget": {"usd": usd, "tokens": None}} for k, usd in ((2, 0.03), (8, None))]
    found = leaderboard([saved_run("0", LOW, config=configs[0]), saved_run("1", HIGH, config=configs[1])])
    assert [axis.key for axis in found.keys] == ["retriever.k"]


def test_where_less_is_better_the_lowest_comes_first() -> None:
    found = leaderboard([saved_run("0", HIGH, metric="over_refusal"), saved_run("1", LOW, metric="over_refusal")])
    assert [line.name for line in found.rows] == ["1", "0"] and "less is better" in format_leaderboard(found)


def test_a_faster_point_that_ties_with_the_best_is_named() -> None:
    slow, quick = saved_run("0", HIGH), saved_run("1", HIGH)
    for line in quick.rows:
        line["took"]["model"] = 0.01  # type: ignore[index]
    found = leaderboard([slow, quick])
    assert [line.tied for line in found.rows] == [True, True]
    assert any("the fastest is 1 (p50 0.110 s)" in sentence for sentence in summary_sentences(found))


def test_latency_and_cost_are_without_the_cache_and_without_scoring() -> None:
    [line] = leaderboard([saved_run("0", HIGH)]).rows
    assert line.p50 == pytest.approx(0.5) and line.known_share == pytest.approx(1 / 3)
    assert line.cost_usd == pytest.approx(0.03) and (line.input_tokens, line.output_tokens) == (3000, 300)


def test_the_known_share_counts_answers_that_were_not_computed() -> None:
    states = {"a": "known", "b": "similar", "c": "shared", "d": "computed", "e": "skipped"}
    [line] = leaderboard([SavedRun("0", rows=[{**row("q0", m=1.0), "stages": states}])]).rows
    assert line.known_share == 3 / 4


def test_an_error_is_never_a_score() -> None:
    broken = SavedRun("1", rows=[*(row(f"q{n}", answer_correctness=1.0) for n in range(7)), row("q7", error="down")])
    found = leaderboard([saved_run("0", [0.0] * 8), broken])
    assert (found.rows[0].errors, found.rows[0].scores["answer_correctness"].n) == (1, 7)
    assert "errors: 1 answer in 1; they have no scores" in summary_sentences(found)


def test_a_point_without_a_score_comes_last() -> None:
    found = leaderboard([saved_run("0", [None] * 3), saved_run("1", [0.1] * 3), saved_run("2", [0.2] * 3)])
    assert [line.name for line in found.rows] == ["2", "1", "0"]


def test_an_unknown_metric_or_baseline_is_an_error_with_the_choices() -> None:
    with pytest.raises(FlowError, match="did you mean 'answer_correctness'"):
        leaderboard(two(), sort="answer_corectness")
    with pytest.raises(FlowError, match="numbered 0 to 1"):
        leaderboard(two(), baseline=2)


def test_points_without_results_are_named() -> None:
    assert any(
        "point 7 has no results: it was killed" in s
        for s in summary_sentences(leaderboard(two(), lost={"7": "it was killed"}))
    )


@pytest.mark.parametrize("width", [60, 80, 100, 160, 300])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    found = leaderboard(sweep(9, 8, ["answer_correctness", "groundedness", "hit", "over_refusal"]))
    lines = format_leaderboard(found, width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert all(any(line.split()[:1] == [name] for line in lines) for name in "012345678")


def test_columns_without_room_are_named() -> None:
    found = leaderboard(sweep(4, 8, ["answer_correctness", "groundedness"]))
    assert "no room for:" in format_leaderboard(found, width=60) and "no room for:" not in format_leaderboard(
        found, width=200
    )
    assert "groundedness" in format_leaderboard(found, width=200).splitlines()[2]


def test_colors_are_left_out_where_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[32mbetter" in format_leaderboard(leaderboard(two()), color=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in format_leaderboard(leaderboard(two()), color=True)


def test_a_config_value_cannot_control_the_terminal() -> None:
    shown = {"note": "[bold red]\x1b[31mhi\x07[/]"}
    found = leaderboard([saved_run("0", LOW, config={"note": "plain"}), saved_run("1", HIGH, config=shown)])
    assert "\x1b" not in format_leaderboard(found) and "[bold red]" in format_leaderboard(found)


def test_a_sweep_without_scores_has_a_leaderboard() -> None:
    found = leaderboard([SavedRun("0", rows=[row("a", error="down")]), SavedRun("1")])
    assert "no answer has a score" in format_leaderboard(found)


def test_the_csv_has_all_figures_and_no_formulas() -> None:
    configs = [{"evaluator": {"correctness": {}}, "x": x} for x in ("a", "=HYPERLINK(1)")]
    found = leaderboard([saved_run("0", LOW, config=configs[0]), saved_run("1", HIGH, config=configs[1])])
    first, _ = csv.DictReader(as_csv(found).splitlines())
    assert first["x"] == "'=HYPERLINK(1)" and float(first["answer_correctness"]) == pytest.approx(0.4)
    assert first["answer_correctness.verdict"] == "better" and float(first["latency_p50"]) == pytest.approx(0.5)


def test_the_json_is_plain_data_with_the_same_figures() -> None:
    found = json.loads(json.dumps(as_data(leaderboard(two())), allow_nan=False))
    assert found["baseline"] == "0" and found["points"][0]["config"] == {"retriever.k": 8}
    assert found["points"][0]["against_baseline"]["answer_correctness"]["verdict"] == "better"
