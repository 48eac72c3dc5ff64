"""Tables fit their width, and a cell cannot control the terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_flows.report.text.tables import Column, cut, fit, format_table, output_width, table_lines, text_width


def test_numbers_are_aligned_to_the_right_of_the_first_column() -> None:
    assert format_table(["score", "n"], [["hit", "4"], ["correctness", "128"]]).splitlines() == [
        "score          n",
        "-----------  ---",
        "hit            4",
        "correctness  128",
    ]


@given(st.lists(st.tuples(st.text(), st.text(), st.text(max_size=5)), max_size=5), st.integers(40, 200))
def test_texts_are_cut_to_the_width(rows: list[tuple[str, str, str]], width: int) -> None:
    lines = format_table(["question", "answer", "verdict"], rows, width, stretch=2).split("\n")
    assert len(lines) == 2 + len(rows) and max(map(text_width, lines)) <= width


def test_a_cell_has_no_control_characters_and_no_secrets() -> None:
    table = format_table(["answer"], [["\x1b[2Jred\nblue"], ["sk-ant-api03-" + "a" * 40]])
    assert "\x1b" not in table and "red blue" in table and "sk-ant-api03-aaaa" not in table


def test_east_asian_characters_take_two_columns() -> None:
    assert text_width("日本a") == 5 and cut("日本語", 4) == "日…"
    assert [text_width(line) for line in format_table(["a", "b"], [["日本", "1"], ["x", "2"]]).splitlines()] == [7] * 4


def test_a_long_head_breaks_at_the_underscore_in_its_middle() -> None:
    assert Column("answer_correctness", ["1"]).heads == ["answer_", "correctness"]
    assert Column("hit_rate", ["1"]).heads == ["hit_rate"]


def test_the_least_important_columns_are_left_out_before_texts_are_cut() -> None:
    columns = [Column("key", ["x" * 20], shrink=True), Column("a", ["1" * 10], drop=1), Column("b", ["2" * 10], drop=2)]
    assert [column.head for column in fit(columns, 40)] == ["key", "a"]
    assert [column.head for column in fit(columns, 10)] == ["key"] and columns[0].width == 10


def test_styles_do_not_change_the_layout() -> None:
    column = Column("verdict", ["better", "worse"], styles=["32", ""])
    assert table_lines([column])[2:] == ["\x1b[32mbetter \x1b[0m", "worse"]


def test_the_width_is_columns_or_160_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    assert output_width() == 72
