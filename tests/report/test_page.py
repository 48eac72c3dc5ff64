"""The page of a sweep is complete, and its texts cannot run: checked by parsing, and in a real browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmops_flows.report.leaderboard import leaderboard
from llmops_flows.report.page.html_page import render_page, script_json, write_page
from llmops_flows.report.page.page_data import page_data
from llmops_flows.report.saved_runs import SavedRun
from tests.support.browser import Parsed, Shown, show
from tests.support.http_server import StubResponse, StubServer
from tests.support.payloads import PAYLOADS
from tests.support.sweeps import row, sweep

METRICS = ("answer_correctness", "groundedness", "over_refusal")
ACTIVE = {
    "iframe", "img", "object", "embed", "link", "base", "form", "video", "audio", "source", "input", "marquee",
    "math", "picture", "textarea", "frame", "applet", "animate", "image", "use", "foreignobject",
}  # fmt: skip

LINKS = ("href", "src", "action", "xlink:href")


def drawn(variants: list[SavedRun], folder: Path, address: str = "") -> Shown:
    write_page(folder / "report.html", variants, leaderboard(variants))
    return show(Path(f"{folder}/report.html{address}"))


def parts(text: str, tag: str) -> list[str]:
    return re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", text, re.DOTALL)


# -- the text of the page --------------------------------------------------------------------------------------------


def test_the_policy_allows_the_pages_own_script_and_style_and_nothing_else() -> None:
    variants = sweep(3, 4, METRICS)
    text = render_page(variants, leaderboard(variants))
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)

    def digest(part: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() + "'"

    script, style = parts(text, "script")[1], parts(text, "style")[0]
    assert policy.split("; ") == [
        "default-src 'none'", "base-uri 'none'", "form-action 'none'",
        f"style-src {digest(style)}", f"script-src {digest(script)}",
    ]  # fmt: skip


def test_the_page_names_no_address_outside_itself() -> None:
    variants = sweep(3, 4, METRICS)
    text = render_page(variants, leaderboard(variants))
    assert set(re.findall(r"https?://[^\s\"'`<)]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|srcdoc", text)


@pytest.mark.parametrize("value", ["</script>", "<!--", "a&b", "\u2028", "\ud800", {"</script>": ["<"]}])
def test_data_cannot_end_its_element_and_keeps_every_character(value: Any) -> None:
    text = script_json(value)
    assert json.loads(text) == value and not set(text) & set("<>&\u2028\u2029") and text.encode()


def test_values_that_are_not_finite_become_valid_json() -> None:
    rows = [row("a", m=float("nan")), row("b", m=float("inf")), row("c", m=0.5)]
    variants = [SavedRun("0", rows=rows)]
    assert page_data(variants, leaderboard(variants))["points"][0]["scores"][0][:2] == [0.5, None]


def test_secrets_do_not_reach_the_page() -> None:
    key = "sk-proj-" + "a1B2" * 8
    variants = [
        SavedRun("0", config={"k": key}, rows=[row("a", answer=key, m=1.0)]),
        SavedRun("1", config={"k": "x"}),
    ]
    assert key not in render_page(variants, leaderboard(variants))


def test_an_answer_of_many_points_is_stored_once() -> None:
    rows = [row("a", answer="The same long answer. " * 20, m=1.0)]
    variants = [SavedRun(str(n), rows=rows) for n in range(50)]
    assert render_page(variants, leaderboard(variants)).count("The same long answer. The same") == 10


def test_a_page_that_would_be_too_large_says_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmops_flows.report.page.page_data.MAX_CELLS", 200)
    monkeypatch.setattr("llmops_flows.report.page.page_data.MAX_CHARACTERS", 3000)
    variants = [replace(v, rows=[{**r, "answer": f"{v.name} {r['id']} " + "x" * 300} for r in v.rows])
                for v in sweep(30, 20, METRICS)]  # fmt: skip
    found = page_data(variants, leaderboard(variants))
    assert [len(found["points"]), len(found["questions"])] == [10, 20]
    assert any(v["name"] == "0" for v in found["points"]) and found["points"][found["baseline"]]["name"] == "0"
    assert found["cut"][0] == "the best 10 of 30 points are shown; board --csv has all of them"
    assert "texts are cut to 60 characters" in found["cut"][1] and max(map(len, found["texts"])) <= 62


def test_a_sweep_without_answers_or_scores_has_a_page() -> None:
    for variants in ([SavedRun("0")], [SavedRun("0", rows=[row("a", error="down")])]):
        assert "</html>" in render_page(variants, leaderboard(variants))


# -- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    variants = sweep(12, 10, METRICS)
    variants[3].rows[2].update(error="model: <b>down</b>", answer=None, scores={})  # type: ignore[attr-defined]
    yield drawn(variants, tmp_path_factory.mktemp("page"), "#sort=point&down=1&a=0&b=5&q=4")


def test_the_page_is_drawn_without_an_error(seen: Shown) -> None:
    assert seen.errors == () and "data-drawn" in seen.html


def test_the_leaderboard_is_sorted_and_has_every_point(seen: Shown) -> None:
    body = parts(seen.html, "tbody")[0]
    names = [re.findall(r"<td[^>]*>(.*?)</td>", line)[1] for line in parts(body, "tr")]
    assert names == [str(n) for n in range(12)]
    assert 'aria-sort="ascending"' in seen.html and "no real difference" in body


def test_every_part_of_the_page_is_drawn(seen: Shown) -> None:
    parsed = seen.parsed
    dots = [a for tag, a in parsed.elements if tag == "circle"]
    assert sum("front" in str(a["class"]) for a in dots) >= 1 and len(dots) >= 2
    assert sum(a.get("class") == "bar" for tag, a in parsed.elements if tag == "rect") > 12
    assert any(tag == "canvas" and int(a.get("width") or 0) > 100 for tag, a in parsed.elements)
    assert "s of work instead of" in parsed.text() and "retrieve" in parsed.text()


def test_two_answers_are_shown_side_by_side_with_changed_words_marked(seen: Shown) -> None:
    assert len(parts(seen.html, "del")) == len(parts(seen.html, "ins")) >= 1
    assert "answers changed" in seen.parsed.text()


def test_all_controls_can_be_reached_by_the_keyboard(seen: Shown) -> None:
    focusable = {"button", "select", "a", "summary"}
    by_key = [tag for tag, a in seen.parsed.elements if tag in focusable or a.get("tabindex") == "0"]
    assert {"button", "select", "a", "summary", "tr", "canvas", "circle"} <= set(by_key)


def test_500_points_and_200_questions_open_quickly(tmp_path: Path) -> None:
    shown = drawn(sweep(500, 200, METRICS), tmp_path)
    [milliseconds] = re.findall(r'data-drawn="(\d+)"', shown.html)
    assert int(milliseconds) < 5000 and shown.errors == ()
    assert len(parts(parts(shown.html, "tbody")[0], "tr")) == 500
    assert (tmp_path / "report.html").stat().st_size < 10_000_000


# -- promise 26: reports are inert -----------------------------------------------------------------------------------


def hostile(hit: str) -> list[SavedRun]:
    """Every payload in every field: flow, names, keys, values, metrics, stages, questions, answers, errors."""
    texts = [text.replace("{hit}", hit) for text in PAYLOADS]
    scores = dict.fromkeys(texts, 0.5)
    stages, took = dict.fromkeys(texts, "computed"), dict.fromkeys(texts, 0.1)
    rows = [
        {**row(text), "question": text, "answer": f"{text} {text}", "reference": text, "scores": scores,
         "stages": stages, "took": took} for text in texts
    ]  # fmt: skip
    rows += [{**row(f"error {text}"), "error": text, "question": text} for text in texts]
    return [
        SavedRun(text, run=text, rows=rows if n < 2 else [], choices={text: f"{text}{n}" for text in texts},
                config={"name": text, text: n, "value": text}) for n, text in enumerate(texts)
    ]  # fmt: skip


def is_inert(parsed: Parsed) -> bool:
    """Whether the page has only its own two scripts and style, no element that loads, no handler, no foreign link."""
    attributes = [(name.lower(), value or "") for _, found in parsed.elements for name, value in found.items()]
    return (
        parsed.count("script") == 2 and parsed.count("style") == 1 and not parsed.tags & ACTIVE
        and not any(name.startswith("on") for name, _ in attributes)
        and all(value.startswith("#") for name, value in attributes if name in LINKS)
        and sum(found.get("http-equiv") is not None for tag, found in parsed.elements if tag == "meta") <= 1
    )  # fmt: skip


def test_sixty_payloads_are_sixty_different_ones() -> None:
    assert len(PAYLOADS) == len(set(PAYLOADS)) == 60


def test_payloads_in_every_field_are_inert_when_parsed() -> None:
    variants = hostile("http://127.0.0.1:9/x")
    assert is_inert(Parsed.of(render_page(variants, leaderboard(variants))))


def test_the_browser_would_run_an_unescaped_payload(tmp_path: Path) -> None:
    """Without this, the next tests could pass because nothing ever reaches the server."""
    with StubServer(StubResponse(body="x")) as server:
        careless = tmp_path / "careless.html"
        careless.write_text(f"<html><body>{PAYLOADS[4].replace('{hit}', server.url + '/hit')}</body></html>")
        shown = show(careless)
        assert server.requests and "<title>acted</title>" in shown.html and not is_inert(shown.parsed)


@pytest.mark.parametrize("policy", [True, False], ids=["as it is", "also without its policy"])
def test_payloads_in_every_field_do_nothing_in_a_browser(tmp_path: Path, policy: bool) -> None:
    with StubServer(StubResponse(body="x")) as server:
        variants = hostile(server.url + "/hit")
        place = write_page(tmp_path / "report.html", variants, leaderboard(variants))
        if not policy:
            text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", place.read_text(encoding="utf-8"))
            place.write_text(text, encoding="utf-8")
        shown = show(Path(f"{place}#b=1&q=3"))
        assert not server.requests and shown.errors == () and "data-drawn" in shown.html
        assert is_inert(shown.parsed) and "<title>acted" not in shown.html
        assert f"<script>{PAYLOADS[0][8:30]}" in shown.parsed.text()
