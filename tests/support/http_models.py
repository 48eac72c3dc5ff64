"""Models that call the HTTP server of the tests, in a coroutine or in a thread."""

from __future__ import annotations

import time
from typing import Annotated, Any, ClassVar

import httpx

from llmops_flows import OPERATIONAL, Call, Flow, Outcome, Record, Stage
from llmops_flows.calls.retry import parse_retry_after
from llmops_flows.core.errors import BackendError
from llmops_flows.core.roles import Model
from tests.support.http_server import StubResponse
from tests.support.stub_stages import Write

HELLO = StubResponse(body={"text": "hello"})


class Chat(Model):
    """Requests JSON {"text"} from `url`, or server-sent pieces if `streams`."""

    name: str = "chat"
    url: Annotated[str, OPERATIONAL]
    streams: bool = False

    @property
    def backend(self) -> str:
        return f"{self.name} at {self.url}"

    async def run(self, messages: list[Any], call: Call) -> Outcome:
        try:
            async with (
                httpx.AsyncClient(timeout=None, verify=False) as client,
                client.stream("POST", self.url, json={"messages": messages}) as answer,
            ):
                if answer.status_code >= 400:
                    await answer.aread()
                    raise refused(answer)
                if self.streams:
                    return Outcome("".join([piece async for piece in self.pieces(answer, call)]))
                await answer.aread()
                return Outcome(answer.json()["text"])
        except httpx.TransportError as error:
            raise BackendError(f"{self.name}: {type(error).__name__}", retryable=True) from error

    async def pieces(self, answer: httpx.Response, call: Call) -> Any:
        async for line in answer.aiter_lines():
            if line:
                piece = line.removeprefix("data: ")
                call.token(piece)
                yield piece


class Blocking(Chat):
    """The same with a client that blocks its thread, and checks regularly whether the call was cancelled."""

    PAUSE: ClassVar[float] = 0.05

    def run(self, messages: list[Any], call: Call) -> Outcome:  # type: ignore[override]
        assert call.deadline is not None
        while not call.cancelled() and time.monotonic() < call.deadline:
            try:
                answer = httpx.post(self.url, json={"messages": messages}, timeout=self.PAUSE, verify=False)
            except httpx.ReadTimeout:
                continue
            if answer.status_code >= 400:
                raise refused(answer)
            return Outcome(answer.json()["text"])
        raise BackendError("the call was cancelled")


def refused(answer: httpx.Response) -> BackendError:
    status = answer.status_code
    return BackendError(
        f"answered {status}",
        status=status,
        retryable=(status == 429 and "insufficient_quota" not in answer.text) or status >= 500,
        retry_after=parse_retry_after(answer.headers.get("retry-after")),
    )


class Quote(Model):
    """Answers with the passage, without a service."""

    name: str = "quote"

    def run(self, documents: list[dict[str, Any]]) -> str:
        return f"it says: {documents[0]['page_content']}"


class Find(Stage):
    """A stage before the model."""

    writes: ClassVar[str] = "documents"

    def run(self, question: str) -> list[dict[str, Any]]:
        return [{"id": "1", "page_content": question, "metadata": {}}]


def chat(model: Any, **others: Any) -> Flow:
    return Flow(stages={"retrieve": Find(), "prompt": Write(), "model": model, **others})


def span(record: Record, stage: str = "model") -> Any:
    return next(span for span in record.spans if span.stage == stage)
