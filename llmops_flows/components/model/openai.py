"""Chat models by OpenAI, or by any service that speaks its protocol: llama.cpp, vLLM, Ollama, a gateway."""

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
_THINKS = re.compile(r"(?:ft:)?(?:o\d|gpt-(?:[5-9]|\d{2,}))(?!.*chat)")
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class OpenAI(ServiceModel):
    """A chat model of OpenAI (Chat Completions).

    Models that think first (o1, o3, gpt-5 and later, not the `chat` ones) count their thoughts as answer tokens: give
    them room in max_tokens. They take no temperature, unless reasoning_effort is `none`, and no stop strings.

    Attributes:
        reasoning: whether the model thinks first; None tells it by the name.
        reasoning_effort: how long it thinks; None leaves that to the service.
        organization, project: who pays, where the key does not say it.
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
    def thinks(self) -> bool:
        """Whether the model answers after thoughts of its own."""
        return _THINKS.match(self.name) is not None if self.reasoning is None else self.reasoning

    @property
    def accepts_temperature(self) -> bool:
        """Whether the model takes a temperature."""
        return not self.thinks or self.reasoning_effort == "none"

    def problems(self) -> list[str]:
        found = super().problems()
        if not self.accepts_temperature and self.temperature not in (0, 1):
            found.append(f"temperature: {self.name} takes none; set 0 (one answer is enough) or 1 (they are drawn)")
        if self.thinks and self.stop:
            found.append(f"stop: {self.name} takes no stop strings; set stop=[]")
        return found

    @cached_property
    def connection(self) -> Connection:
        account = (self.organization, self.project)
        return Connection(library="openai", base_url=self.base_url or OFFICIAL, account=account)

    async def run(self, messages: list[Message], call: Call) -> Outcome:
        async def ask(heard: StreamedAnswer, seconds: float) -> None:
            await stream_chat(self, self.request(messages), heard, seconds, self.account)

        return await stream_answer(self, call, ask)

    @property
    def account(self) -> dict[str, Any]:
        return {"organization": self.organization, "project": self.project}

    def request(self, messages: list[Message]) -> dict[str, Any]:
        """The body of the request, as far as this protocol's client names its fields."""
        wanted = {**base_request(self, messages), "max_completion_tokens": self.max_tokens}
        if self.accepts_temperature:
            wanted["temperature"] = self.temperature
        if self.thinks and self.reasoning_effort is not None:
            wanted["reasoning_effort"] = self.reasoning_effort
        return wanted
