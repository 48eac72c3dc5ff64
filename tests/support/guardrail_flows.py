"""Guardrails, and flows that use them."""

from __future__ import annotations

from typing import Any

from llmops_flows import Flow, Record, Runner
from llmops_flows.components.guardrail.validator_guardrail import ValidatorGuardrail
from llmops_flows.components.prompt.chat import ChatPrompt
from llmops_flows.testing.models import ScriptedModel

PROMPT = ChatPrompt(messages=({"role": "user", "content": "{question}"},))
DOCUMENTS = [{"id": "1", "page_content": "Standard covers emergency care at any hospital.", "metadata": {}}]


def guard(on: str = "answer", **validators: Any) -> ValidatorGuardrail:
    settings = {n: validators.pop(n) for n in ("engine", "stream", "refusal") if n in validators}
    return ValidatorGuardrail(on=on, validators=validators, **settings)


def chat(*answers: str, before: ValidatorGuardrail | None = None, after: ValidatorGuardrail | None = None) -> Flow:
    model = ScriptedModel(answers=answers)
    return Flow(stages={"input_guard": before, "prompt": PROMPT, "model": model, "output_guard": after})


def ask(runner: Runner, flow: Flow, question: str = "What is covered?", **slots: Any) -> Record:
    [record] = runner.run(flow, [Record.of("1", {"question": question, **slots})])
    return record


WEAPONS = {"name": "forbidden_topics", "params": {"topics": ["weapon"]}}
MAIL = "Ask ann@mail.org. Thank you."
