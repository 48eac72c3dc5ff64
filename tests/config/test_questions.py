"""The rows of a question set: bad ones are named with their line, odd files are read as they are meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmops_flows import ConfigError
from llmops_flows.config.questions import MAX_ROW_CHARS, Questions, records

GOOD = {"id": "a", "question": "A?", "reference": "yes", "gold": ["p#page=1"], "answerable": True}


def rows(path: Path, text: str | bytes, **options: Any) -> list[dict[str, Any]]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Questions(path=str(path), limit=options.pop("limit", None), **options).rows()


def told(path: Path, text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        rows(path, text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not valid JSON"),
        ("[1]", "not a JSON object"),
        ('"text"', "not a JSON object"),
        ('{"id": "b"}', "'question' is missing"),
        ('{"qestion": "B?"}', "did you mean 'qestion'?"),
        ('{"question": " "}', "the question is empty"),
        ('{"question": 3}', "question must be text, got 3"),
        ('{"question": "B?", "gold": "p"}', "gold must be a list of page ids"),
        ('{"question": "B?", "gold": [1]}', "gold must be a list of page ids"),
        ('{"question": "B?", "answerable": "no"}', "answerable must be true or false"),
        ('{"question": "B?", "answerable": 1}', "answerable must be true or false"),
        ('{"question": "B?", "reference": ["x"]}', "reference must be text"),
        ('{"question": "B?", "id": true}', "id must be text"),
        ('{"id": "a", "question": "B?"}', "the id 'a' is also in line 1"),
        ('{"question": "B?", "weight": NaN}', "NaN is not a JSON number"),
        ("[" * 100_000, "is nested too deep"),
        ('{"question": "' + "x" * MAX_ROW_CHARS + '"}', "at most 10,000,000 are allowed"),
    ],
)
def test_a_bad_row_is_named_with_its_line(tmp_path: Path, line: str, words: str) -> None:
    text = told(tmp_path / "q.jsonl", f"{json.dumps(GOOD)}\n\n{line}\n")
    assert "q.jsonl:3" in text and words in text


def test_all_bad_rows_are_told_at_once(tmp_path: Path) -> None:
    assert told(tmp_path / "q.jsonl", "{\n" * 5).count("not valid JSON") == 5
    assert "further rows are invalid too" in told(tmp_path / "q.jsonl", "{\n" * 500)


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"])
def test_a_file_without_questions_is_a_mistake(tmp_path: Path, text: str) -> None:
    assert "contains no question" in told(tmp_path / "q.jsonl", text)


def test_text_that_is_no_utf_8_is_named_with_its_line(tmp_path: Path) -> None:
    assert "UTF-8" in told(tmp_path / "q.jsonl", b'{"question": "A?"}\n\xff\xfe\n')


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_the_text(tmp_path: Path) -> None:
    found = rows(tmp_path / "q.jsonl", "\ufeff" + json.dumps(GOOD) + "\r\n" + '{"question": "B?"}' + "\r\n")
    assert [row["question"] for row in found] == ["A?", "B?"]


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85"])
def test_only_a_line_feed_ends_a_row(tmp_path: Path, mark: str) -> None:
    [row] = rows(tmp_path / "q.jsonl", json.dumps({"question": f"A{mark}?"}, ensure_ascii=False))
    assert "A" in row["question"]


def test_rows_without_an_id_are_named_by_their_place_in_the_file(tmp_path: Path) -> None:
    text = "".join(f'{{"question": "Q{n}"}}\n' for n in range(30))
    drawn = rows(tmp_path / "q.jsonl", text, limit=5)
    assert all(row["id"] == row["question"].replace("Q", "q") for row in drawn)
    assert [record.id for record in records(drawn)] == [row["id"] for row in drawn]


def test_more_questions_than_there_are_is_all_of_them(tmp_path: Path) -> None:
    assert len(rows(tmp_path / "q.jsonl", json.dumps(GOOD), limit=100)) == 1


def test_the_draw_is_repeated_by_its_seed(tmp_path: Path) -> None:
    text = "".join(f'{{"question": "Q{n}"}}\n' for n in range(100))
    one, two = (rows(tmp_path / "q.jsonl", text, limit=10, seed=seed) for seed in (1, 2))
    assert one == rows(tmp_path / "q.jsonl", text, limit=10, seed=1)
    assert one != two


def test_a_flow_with_other_inputs_asks_for_those(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"claim": "It rains."}\n')
    assert Questions(path=str(path)).rows(inputs=("claim",))
    with pytest.raises(ConfigError, match="'question' is missing"):
        Questions(path=str(path)).rows()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.jsonl"):
        Questions(path=str(tmp_path / "nowhere.jsonl")).rows()


@pytest.mark.parametrize("unanswerable", [None, 0.25])
def test_a_larger_limit_draws_the_same_questions_and_more(tmp_path: Path, unanswerable: float | None) -> None:
    lines = [json.dumps({"id": f"q{n}", "question": f"{n}?", "answerable": n % 3 > 0}) for n in range(90)]
    (tmp_path / "many.jsonl").write_text("\n".join(lines))
    drawn: list[set[str]] = [
        {row["id"] for row in Questions(path=str(tmp_path / "many.jsonl"), limit=n, unanswerable=unanswerable).rows()}
        for n in (4, 8, 20, 60)
    ]
    assert [len(names) for names in drawn] == [4, 8, 20, 60]
    assert drawn[0] < drawn[1] < drawn[2] < drawn[3]
