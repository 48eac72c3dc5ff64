"""The comparison of two runs contains what differs, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_flows.report.comparison import as_data, compare, first_divergence
from llmops_flows.report.saved_runs import SavedRun
from llmops_flows.report.text.comparison_text import format_comparison
from tests.support.sweeps import row, saved_run, sweep


def asked(prompt: str, **more: Any) -> SavedRun:
    """A variant that was asked so, and answered so."""
    config = {"name": "shop", "prompt": {"_target_": "shop.Prompt", "text": prompt}, **more}
    return SavedRun(prompt[:5], config=config, rows=[row(f"q{n}", answer=prompt) for n in range(8)])


@given(st.integers(1, 4), st.integers(0, 12))
@settings(max_examples=20, deadline=None)
def test_a_run_does_not_differ_from_itself_in_any_section(variants: int, questions: int) -> None:
    for one in sweep(variants, questions):
        steps = {str(r["id"]): {"retrieve": "a", "model": "b"} for r in one.rows}
        found = compare(one, one, (steps, steps))
        assert found.identical and not as_data(found)["stages"]
        told = as_data(found)
        assert not any(told[section] for section in ("config", "texts", "answers", "errors", "scores", "figures"))
        assert not any(told[section] for section in ("only_first", "only_second", "diverged_at"))
        assert "do not differ" in format_comparison(found)


def test_differing_keys_have_both_values() -> None:
    found = compare(saved_run("a", [], config={"k": 2, "same": 1}), saved_run("b", [], config={"k": 8, "same": 1}))
    assert found.config == {"k": (2, 8)} and not found.texts


def test_prompt_texts_are_compared_line_by_line() -> None:
    found = compare(asked("Be brief.\nUse the passages."), asked("Be kind.\nUse the passages."))
    assert found.texts == {"prompt.text": ("@@ -1,2 +1,2 @@", "-Be brief.", "+Be kind.", " Use the passages.")}


def test_prompt_texts_of_different_options_are_compared() -> None:
    one, other = asked("Be brief."), asked("Be kind.")
    one, other = (
        SavedRun("1", config=one.config, choices={"prompt": "shop/v1"}),
        SavedRun("2", config=other.config, choices={"prompt": "shop/v2"}),
    )
    found = compare(one, other)
    assert found.config == {"prompt": ("v1", "v2")}
    assert found.texts["prompt.text"][-2:] == ("-Be brief.", "+Be kind.")


def test_changed_answers_and_errors_are_separate() -> None:
    one = SavedRun("a", rows=[row("q0", answer="yes"), row("q1", answer="yes"), row("q2", error="down")])
    other = SavedRun("b", rows=[row("q0", answer="no"), row("q1", error="down"), row("q2", error="down")])
    found = compare(one, other)
    assert [(c.id, c.before, c.after) for c in found.answers] == [("q0", "yes", "no")]
    assert [(c.id, c.before, c.after) for c in found.errors] == [("q1", "", "down")]


def test_improved_and_regressed_questions_are_sorted_by_change() -> None:
    found = compare(saved_run("a", [0.5, 0.5, 0.5, 0.5]), saved_run("b", [0.6, 1.0, 0.5, 0.0])).scores
    moved = found["answer_correctness"]
    assert (moved.improved, moved.regressed) == (("q1", "q0"), ("q3",))
    assert moved.difference.verdict == "too few questions"


def test_less_over_refusal_is_an_improvement() -> None:
    found = compare(saved_run("a", [1.0], metric="over_refusal"), saved_run("b", [0.0], metric="over_refusal"))
    assert found.scores["over_refusal"].improved == ("q0",)


def test_cost_and_latency_are_those_without_the_cache() -> None:
    one, other = saved_run("a", [0.5] * 8), saved_run("b", [0.5] * 8)
    for line in other.rows:
        line["full_usage"]["cost_usd"] = 0.003  # type: ignore[index]
        line["took"]["model"] = 0.2  # type: ignore[index]
    found = compare(one, other).figures
    assert found["cost_usd"].difference.mean == pytest.approx(0.002)
    assert found["seconds"].difference.mean == pytest.approx(-0.2)
    assert len(found["seconds"].improved) == len(found["cost_usd"].regressed) == 8 and "tokens" not in found


def test_questions_of_only_one_run_are_named() -> None:
    found = compare(saved_run("a", [0.5, 0.5]), SavedRun("b", rows=[row("q1"), row("q9")]))
    assert (found.only_first, found.only_second) == (("q0",), ("q9",))


# -- where runs part -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "stage"),
    [
        ("retrieve=1 prompt=2 model=3", "retrieve=1 prompt=2 model=3", None),
        ("retrieve=1 prompt=2 model=3", "retrieve=1 prompt=9 model=8", "prompt"),
        ("retrieve=1 prompt=2 model=3", "retrieve=1 rerank=4 prompt=9 model=8", "rerank"),
        ("retrieve=1 rerank=4 prompt=9", "retrieve=1 prompt=2", "rerank"),
        ("words=1 meaning=2 fuse=3", "meaning=2 words=1 fuse=3", None),
        ("words=1 meaning=2 fuse=3", "meaning=5 words=1 fuse=6", "meaning"),
        ("retrieve=1 old=2 model=3", "retrieve=1 new=2 model=3", "new"),
        ("retrieve=1 model=2 judge=3", "retrieve=1 model=2 judge=4", "judge"),
        ("", "", None),
    ],
)  # fmt: skip
def test_runs_diverge_at_the_first_stage_with_another_output(before: str, after: str, stage: str | None) -> None:
    def steps(told: str) -> dict[str, str]:
        return dict(part.split("=") for part in told.split())

    assert first_divergence(steps(before), steps(after)) == stage


def test_the_first_stages_that_differ_are_counted() -> None:
    one, other = saved_run("a", [0.1, 0.1, 0.1]), saved_run("b", [0.1, 0.1, 0.1])
    before = {f"q{n}": {"retrieve": "1", "model": "2"} for n in range(3)}
    after = {**before, "q1": {"retrieve": "9", "model": "8"}, "q2": {"retrieve": "7", "model": "2"}}
    found = compare(one, other, (before, after))
    assert found.diverged_at == {"q1": "retrieve", "q2": "retrieve"} and found.stages == {"retrieve": 2}


# -- shown -----------------------------------------------------------------------------------------------------------


def test_the_text_has_every_section_and_no_control_character() -> None:
    one, other = sweep(4, 12)[0], sweep(4, 12, seed=1)[3]
    other.rows[0]["answer"] = "\x1b[31mred\x1b[0m\nnext"  # type: ignore[index]
    shown = format_comparison(compare(one, other), width=100)
    for head in ("config", "scores", "first stage that differs", "answers"):
        assert f"\n{head}\n" in shown
    assert "\x1b" not in shown and "and 7 more" in shown and max(map(len, shown.splitlines())) <= 100


def test_the_json_is_plain_data() -> None:
    found = json.loads(json.dumps(as_data(compare(saved_run("a", [0.1], config={"k": 1}), saved_run("b", [0.2]))),
                                  allow_nan=False))  # fmt: skip
    assert found["config"]["k"] == [1, None] and found["scores"]["answer_correctness"]["improved"] == ["q0"]
