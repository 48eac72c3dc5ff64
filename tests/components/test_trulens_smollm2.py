"""The embedded SmolLM2 as TruLens's judge: grades that can be read, equal each time, paid for in tokens.

That they mean something is not claimed: a model of this size grades at random.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from llmops_flows import Flow, Record, Runner
from llmops_flows.components.evaluator.trulens import TruLensJudge
from llmops_flows.components.model.smollm2 import SmolLM2
from llmops_flows.config.load import load_experiment
from llmops_flows.integrations.trulens.judge import JudgeMetric
from llmops_flows.report.summary import loading
from tests.components.test_trulens_judge import DOCUMENTS, METRICS, Answer


def judges(judge: SmolLM2, metrics: Sequence[JudgeMetric]) -> dict[str, TruLensJudge]:
    return {metric: TruLensJudge(metric=metric, judge=judge, reasons=False, max_tokens=96) for metric in metrics}


def judged(triad: dict[str, TruLensJudge]) -> Record:
    with Runner() as runner:
        asked = [Record.of("1", {"question": "What does it cover?", "documents": DOCUMENTS})]
        [record] = runner.run(Flow(stages={"answer": Answer()}), asked, evaluators=triad)
    states = {span.stage: (span.state, span.error) for span in record.spans}
    assert all(state == "computed" for state, _ in states.values()), states
    return record


def test_the_embedded_model_grades_and_is_loaded_apart_from_what_that_takes() -> None:
    # A model of its own, which nobody has loaded yet, and which stays as long as who asks it.
    asking = judges(SmolLM2(context=1024), ["answer_relevance"])
    record = judged(asking)
    grade = record.scores["judged_answer_relevance"]
    assert grade is not None and 0 <= grade <= 1
    assert record.spans[-1].usage["input_tokens"] > 50
    assert loading([record])["answer_relevance"] > 0.05
    again = judged(asking)
    assert again.scores == record.scores and loading([again]) == {}


@pytest.mark.slow
def test_the_triad_is_graded_alike_in_whatever_order_it_is_asked_for() -> None:
    record = judged(judges(SmolLM2(), METRICS))
    assert set(record.scores) == {f"judged_{metric}" for metric in METRICS}
    assert all(score is not None and 0 <= score <= 1 for score in record.scores.values())
    assert judged(judges(SmolLM2(), METRICS[::-1])).scores == record.scores


def test_the_judge_of_a_config_is_the_embedded_model_unless_another_is_chosen() -> None:
    triad = load_experiment("flow=rag_support", "evaluator=trulens", "model=extractive").evaluators
    found = [triad[f"judged_{metric}"] for metric in METRICS]
    assert all(isinstance(one, TruLensJudge) and isinstance(one.judge, SmolLM2) for one in found)
