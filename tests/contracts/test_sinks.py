"""The shipped listeners keep the contract of listeners."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from llmops_flows.cli.progress import Progress
from llmops_flows.components.tracer.local import LocalTracer
from llmops_flows.core.events import Sink
from llmops_flows.testing.sinks import SinkContract


class TestProgress(SinkContract):
    def sink(self) -> Sink:
        return Progress(io.StringIO())


class TestLocalTraces(SinkContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "traces.sqlite"

    def sink(self) -> Sink:
        return LocalTracer(path=self.path).sink()
