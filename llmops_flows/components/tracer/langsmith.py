"""`tracer=langsmith`: finished traces are sent to LangSmith."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.core.trace import Exporter, Trace
from llmops_flows.integrations.langsmith.client import EXTRA, send_traces


class LangSmithExporter(Exporter):
    """Sends traces to LangSmith, except those of a LangChain app that already traces to LangSmith.

    Attributes:
        project: LangSmith project of the runs; by default LANGSMITH_PROJECT, else the name of the flow.
        endpoint: URL of the API; by default LANGSMITH_ENDPOINT, else the hosted service.
        api_key_env: name of the environment variable that holds the key.
    """

    requires: ClassVar[tuple[str, ...]] = ("langsmith",)
    extra: ClassVar[str] = EXTRA
    project: str | None = None
    endpoint: str | None = None
    api_key_env: str = "LANGSMITH_API_KEY"

    def problems(self) -> list[str]:
        if self._api_key():
            return []
        return [f"LangSmith needs a key: set the environment variable {self.api_key_env}, or use tracer=local"]

    def delivers(self, host: Any) -> bool:
        manager = host.get("callbacks") if isinstance(host, Mapping) else None
        handlers = manager if isinstance(manager, list) else getattr(manager, "handlers", None) or ()
        return not any(cls.__name__ == "LangChainTracer" for handler in handlers for cls in type(handler).__mro__)

    def destination(self, flow: str) -> Mapping[str, Any]:
        return {"project": self.project or os.environ.get("LANGSMITH_PROJECT") or flow}

    def prepare(self) -> None:
        load("langsmith", EXTRA, "tracer=langsmith")

    def deliver(self, traces: Sequence[Trace]) -> list[str]:
        send_traces([(trace, self._project(trace)) for trace in traces], self.endpoint, self._api_key())
        return [trace.id for trace in traces]

    def _project(self, trace: Trace) -> str:
        destination = trace.destinations.get("langsmith") or self.destination(trace.flow)
        return str(destination["project"])

    def _api_key(self) -> str | None:
        older_name = "LANGCHAIN_API_KEY" if self.api_key_env == "LANGSMITH_API_KEY" else ""
        return os.environ.get(self.api_key_env) or os.environ.get(older_name)
