"""Prompt templates take names only: no attributes, no items, no formatting, no code; braces in texts stay braces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from llmops_flows.components.prompt.chat import ChatPrompt, template_slots


class Trap:
    """Something whose attributes and items must never be looked at; as text it is harmless."""

    def __init__(self) -> None:
        object.__setattr__(self, "touched", [])

    def __getattribute__(self, name: str) -> Any:
        if name not in ("touched", "__class__", "__str__", "__dict__"):
            object.__getattribute__(self, "touched").append(name)
        return object.__getattribute__(self, name)

    def __getitem__(self, item: Any) -> Any:
        object.__getattribute__(self, "touched").append(item)
        return self

    def __format__(self, spec: str) -> str:
        object.__getattribute__(self, "touched").append(spec)
        return "formatted"

    def __str__(self) -> str:
        return "a trap"


HOSTILE = [
    "{question.__class__}",
    "{question.__init__.__globals__}",
    "{question[0]}",
    "{question['a']}",
    "{question!r}",
    "{question!s}",
    "{question!a}",
    "{question:>800000000}",
    "{question:{question}}",
    "{question:0800000000d}",
    "{question:%s}",
    "{question.__class__.__mro__[1].__subclasses__}",
    "{0}",
    "{}",
    "{0.__class__}",
    "{:>10}",
    "{-}",
    "{question }",
    "{ question}",
    "{question\n}",
    "{que stion}",
    "{question-x}",
    "{question+1}",
    "{question()}",
    "{question|upper}",
    "{question.a.b.c}",
    "{__import__('os')}",
    "{x if x else y}",
    "{lambda: 1}",
    "{*question}",
    "{**question}",
    "{question,}",
    "{question;x}",
    "{question=}",
    "{question:=1}",
    "{'question'}",
    '{"question"}',
    "{question\\}",
    "{question/}",
    "{/question}",
    "{#question}",
    "{^question}",
    "{&question}",
    "{>question}",
    "{@question}",
    "{$question}",
    "${question.x}",
    "{question@x}",
    "{question~}",
    "{qüestion.x}",
    "{question\0}",
    "{１}",
    "{[question]}",
    "{(question)}",
    "{question",
    "question}",
    "{{question}",
    "{question}}",
    "{{{question}}",
    "}{",
    "{",
    "}",
    "{%}",
    "{% if x %}{% endif %}",
    "{% for x in y %}",
    "{question}{",
    "}{question}",
    "{question}{0}",
]


def prompt(content: str) -> ChatPrompt:
    return ChatPrompt(messages=({"role": "user", "content": content},))


def test_there_are_many_payloads() -> None:
    assert len(set(HOSTILE)) >= 60


@pytest.mark.parametrize("content", HOSTILE)
def test_a_payload_is_refused_when_the_prompt_is_built(content: str) -> None:
    with pytest.raises(ValidationError, match="single brace"):
        prompt(content)


@pytest.mark.parametrize("content", ["{{ question.__class__ }}", "{{7*7}}", "{{config}}", "%(question)s", "$question"])
def test_what_other_template_languages_run_is_text_here(content: str) -> None:
    [message] = prompt(content).run()
    assert message["content"] == content.replace("{{", "{").replace("}}", "}")


@pytest.mark.parametrize("document", ["{metadata}", "{page_content.x}", "{__class__}", "{source!r}"])
def test_a_passage_is_written_from_its_four_facts_only(document: str) -> None:
    with pytest.raises(ValidationError):
        ChatPrompt(messages=({"role": "user", "content": "{context}"},), document=document)


@given(st.text(alphabet=st.sampled_from(list("{}a.[]_!:()'\"0\\ \n%$é")), max_size=60))
@settings(max_examples=10_000, deadline=None, database=None)
def test_no_template_touches_what_it_is_filled_with(template: str) -> None:
    trap = Trap()
    try:
        names = template_slots(template)
    except ValueError:
        return
    [message] = prompt(template).run(**dict.fromkeys(names, trap))
    assert trap.touched == []
    assert message["content"].replace("a trap", "") == template_without_places(template, names)


def template_without_places(template: str, names: set[str]) -> str:
    """The template as a person would read it: places taken out, doubled braces halved, from left to right."""
    out, rest = [], template
    while rest:
        place = next((f"{{{name}}}" for name in names if rest.startswith(f"{{{name}}}")), None)
        if rest[:2] in ("{{", "}}"):
            out.append(rest[0])
            rest = rest[2:]
        elif place:
            rest = rest[len(place) :]
        else:
            out.append(rest[0])
            rest = rest[1:]
    return "".join(out)


@given(st.text(max_size=200))
@settings(max_examples=500, deadline=None, database=None)
def test_braces_in_a_question_and_in_a_passage_come_out_as_they_went_in(text: str) -> None:
    made = prompt("Q: {question} C: {context}")
    [message] = made.run(question=text, context=[{"page_content": text, "metadata": {}}])
    assert message["content"] == f"Q: {text} C: {text}"


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None, database=None)
def test_doubled_braces_say_any_text(text: str) -> None:
    [message] = prompt(text.replace("{", "{{").replace("}", "}}") + "{question}").run(question="")
    assert message["content"] == text


def test_json_can_be_shown_to_a_model() -> None:
    example = json.dumps({"a": {"b": [1, 2]}})
    [message] = prompt(example.replace("{", "{{").replace("}", "}}")).run()
    assert json.loads(message["content"]) == {"a": {"b": [1, 2]}}
