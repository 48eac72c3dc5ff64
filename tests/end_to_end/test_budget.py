"""Runs and sweeps never spend more than their budget, as a service that keeps its own account shows."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llmops_flows.cli.main import main
from tests.support.http_server import ReceivedRequest, StubResponse, StubServer

pytestmark = pytest.mark.timeout(300)
INPUT_PRICE, OUTPUT_PRICE, MAX_TOKENS = 2.0, 1000.0, 50
"""Prices per million tokens, and the longest answer: a call costs at most about 0.05 USD, on average half of it."""


class Service:
    """Implements OpenAI's protocol and counts the cost of its answers."""

    def __init__(self) -> None:
        self.usd = 0.0
        self.tokens = 0
        self.calls = 0
        self._lock = threading.Lock()

    def __call__(self, request: ReceivedRequest) -> StubResponse:
        input_tokens = len(str(request.body["messages"])) // 4
        with self._lock:
            self.calls += 1
            output_tokens = 1 + self.calls * 17 % MAX_TOKENS
            self.usd += (input_tokens * INPUT_PRICE + output_tokens * OUTPUT_PRICE) / 1e6
            self.tokens += input_tokens + output_tokens
        total = input_tokens + output_tokens
        usage = {"prompt_tokens": input_tokens, "completion_tokens": output_tokens, "total_tokens": total}
        choice = {"index": 0, "delta": {"content": f"answer {self.calls}"}, "finish_reason": "stop"}
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        return StubResponse(pieces=[chunk, {**chunk, "choices": [], "usage": usage}, "[DONE]"], delay=0.01)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def url(service: Service) -> Iterator[str]:
    with StubServer(service) as server:
        yield f"{server.url}/v1"


@dataclass
class Flows:
    """The command line, in a folder with 40 questions."""

    folder: Path
    url: str
    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """Returns the exit code and the output."""
        model = ["model=openai_compatible", f"model.base_url={self.url}", f"model.max_tokens={MAX_TOKENS}"]
        prices = [f"model.prices.input={INPUT_PRICE}", f"model.prices.output={OUTPUT_PRICE}"]
        questions = ["questions.path=questions.jsonl", "questions.limit=40"]
        defaults = ["flow=chat", "guardrail=none", "evaluator=none", *questions, *model, *prices]
        overridden = {word.partition("=")[0] for word in arguments}
        code = main([*arguments, *(word for word in defaults if word.partition("=")[0] not in overridden)])
        return code, "".join(self.capture.readouterr())


@pytest.fixture
def flows(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Flows:
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"question": f"Question {n}?"}) for n in range(40)]
    Path("questions.jsonl").write_text("\n".join(rows))
    return Flows(tmp_path, url, capsys)


def summary(folder: Path) -> dict[str, Any]:
    last = max((folder / "outputs").glob("*/*/summary.json"), key=lambda path: path.stat().st_mtime_ns)
    data: dict[str, Any] = json.loads(last.read_text())
    return data


def spent(text: str, unit: str = "USD") -> float:
    [amount] = re.findall(rf"^budget: .*?([\d.]+) of [\d.]+ {unit} spent", text, re.MULTILINE)
    return float(amount)


def test_a_run_stops_at_its_budget_and_continues_with_a_larger_one(
    flows: Flows, service: Service, tmp_path: Path
) -> None:
    code, output = flows("budget.usd=0.5")
    assert code == 1, output
    assert 0.4 < service.usd <= 0.5
    assert spent(output) == pytest.approx(service.usd, rel=1e-4)
    assert re.search(r"budget.usd=0.5 is used up: 0.\d+ spent, next call may cost 0.05\d*; finished answers", output)
    saved = summary(tmp_path)
    assert saved["budget"]["usd"]["limit"] == 0.5
    assert saved["budget"]["usd"]["left"] == pytest.approx(0.5 - service.usd, abs=1e-6)
    assert saved["answered"] == service.calls < 40

    cached = service.calls
    code, output = flows("budget.usd=0")
    assert code == 1 and summary(tmp_path)["answered"] == cached == service.calls
    assert "budget.usd=0 does not allow one call of default" in output

    code, output = flows("budget.usd=5")
    assert code == 0, output
    assert service.calls == 40 and summary(tmp_path)["stages"]["model"] == {"known": cached, "computed": 40 - cached}


@pytest.mark.parametrize(
    "settings", [(), pytest.param(("sweep.workers=2",), marks=pytest.mark.slow)], ids=["one process", "two processes"]
)
def test_all_points_of_a_sweep_share_its_budget(flows: Flows, service: Service, settings: tuple[str, ...]) -> None:
    code, output = flows("-m", "model.seed=1,2,3", "budget.usd=1", "budget.tokens=100000", *settings)
    assert code == 3, output
    assert 0.85 < service.usd <= 1
    assert spent(output) == pytest.approx(service.usd, rel=1e-4)
    assert spent(output, "tokens") == service.tokens
    assert "budget.usd=1 is used up" in output


def test_jobs_of_the_basic_sweeper_share_a_budget(flows: Flows, service: Service) -> None:
    code, output = flows("-m", "model.seed=1,2", "budget.usd=0.5", "hydra/sweeper=basic")
    assert code in (1, 3), output
    assert 0.4 < service.usd <= 0.5


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("budget.usdd=5",), "did you mean 'usd'?"),
        (("budget.usd=-5",), "budget.usd (override budget.usd=-5): must be greater than or equal to 0"),
        (("-m", "budget.usd=1,2"), "all points of a sweep share one budget"),
        (("-m", "budget.usd=1,2", "hydra/sweeper=basic"), "all points of a sweep share one budget"),
        (("-m", "budget.usd=1", "store=sqlite,memory"), "a budget needs one store"),
    ],
)
def test_an_invalid_budget_is_reported_before_any_call(
    flows: Flows, service: Service, overrides: tuple[str, ...], message: str
) -> None:
    code, output = flows(*overrides)
    assert code == 2 and message in output
    assert service.calls == 0 and "budget:" not in output.replace("- budget:", "")


def test_check_and_plan_warn_of_a_budget_that_allows_no_call(flows: Flows, service: Service) -> None:
    code, output = flows("check", "budget.usd=0.01")
    assert code == 0 and "budget.usd=0.01 does not allow one call of default, which may cost 0.05" in output
    code, output = flows("plan", "model.seed=1,2", "budget.usd=0.01")
    assert code == 0 and output.count("budget.usd=0.01 does not allow one call of default") == 1
    code, output = flows("check", "model.name=free", "model.prices.input=0", "model.prices.output=0", "budget.usd=1")
    assert code == 0 and "budget.usd=1 does not limit free, which has no price: set prices.input" in output
    assert service.calls == 0
