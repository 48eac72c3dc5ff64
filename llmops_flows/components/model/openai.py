"""`model=openai`: OpenAI's Chat Completions API."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from llmops_flows.core.record import Message
from llmops_flows.core.stage import OPERATIONAL, Call, Outcome

from .openai_stream import base_request, stream_chat
from .service_model import Connection, ServiceModel
from .streaming import StreamedAnswer, stream_answer

OFFICIAL = "https://api.openai.com/v1"
_REASONING_MODEL = re.compile(r"(?:ft:)?(?:o\d|gpt-(?:[5-9]|\d{2,}))(?!.*chat)")
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class OpenAI(ServiceModel):
    """A chat model of OpenAI (Chat Completions).

    Reasoning models (o1, o3, gpt-5 and later, except `chat` models) count reasoning as output tokens, so max_tokens
    must allow for it. They accept no stop strings, and no temperature unless reasoning_effort is `none`.

    Attributes:
        reasoning: whether it is a reasoning model; None derives it from the name.
        reasoning_effort: None for the service's default.
        organization, project: billing account, if the key does not determine it.
    """

    requires: ClassVar[tuple[str, ...]] = ("openai",)
    extra: ClassVar[str] = "openai"
    provider: ClassVar[str] = "openai"
    name: str = "gpt-5-mini"
    reasoning: bool | None = None
    reasoning_effort: Effort | None = None
    api_key_env: Annotated[str | None, OPERATIONAL] = "OPENAI_API_KEY"
    organization: Annotated[str | None, OPERATIONAL] = None
    project: Annotated[str | None, OPERATIONAL] = None

    @property
    def is_reasoning_model(self) -> bool:
        """Whether the model reasons before it answers."""
        return _REASONING_MODEL.match(self.name) is not None if self.reasoning is None else self.reasoning

    @property
    def accepts_temperature(self) -> bool:
        """Whether the model accepts a temperature."""
        return not self.is_reasoning_model or self.reasoning_effort == "none"

    def problems(self) -> list[str]:
        problems = super().problems()
        if not self.accepts_temperature and self.temperature not in (0, 1):
            problems.append(
                f"temperature: {self.name} does not accept a temperature; set 0 (reuse one answer) or 1 (sample)"
            )
        if self.is_reasoning_model and self.stop:
            problems.append(f"stop: {self.name} does not accept stop strings; set stop=[]")
        return problems

    @cached_property
    def connection(self) -> Connection:
        account = (self.organization, self.project)
        return Connection(library="openai", base_url=self.base_url or OFFICIAL, account=account)

    async def run(self, messages: list[Message], call: Call) -> Outcome:
        async def receive(answer: StreamedAnswer, seconds: float) -> None:
            await stream_chat(self, self.request(messages), answer, seconds, self.account)

        return await stream_answer(self, call, receive)

    @property
    def account(self) -> dict[str, Any]:
        return {"organization": self.organization, "project": self.project}

    def request(self, messages: list[Message]) -> dict[str, Any]:
        """The arguments of the client's `chat.completions.create`."""
        request = {**base_request(self, messages), "max_completion_tokens": self.max_tokens}
        if self.accepts_temperature:
            request["temperature"] = self.temperature
        if self.is_reasoning_model and self.reasoning_effort is not None:
            request["reasoning_effort"] = self.reasoning_effort
        return request
