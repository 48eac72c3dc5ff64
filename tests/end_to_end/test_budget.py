"""A budget on the command line, against a service that keeps its own bill: that never goes beyond the budget."""

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
INPUT, OUTPUT, MOST = 2.0, 1000.0, 50
"""The price of a million tokens, and the longest answer: a call costs up to about 0.05 USD, mostly half of it."""


class Service:
    """Speaks OpenAI's protocol, and writes a bill."""

    def __init__(self) -> None:
        self.usd = 0.0
        self.tokens = 0
        self.calls = 0
        self._lock = threading.Lock()

    def __call__(self, asked: ReceivedRequest) -> StubResponse:
        given = len(str(asked.body["messages"])) // 4
        with self._lock:
            self.calls += 1
            made = 1 + self.calls * 17 % MOST
            self.usd += (given * INPUT + made * OUTPUT) / 1e6
            self.tokens += given + made
        usage = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
        choice = {"index": 0, "delta": {"content": f"answer {self.calls}"}, "finish_reason": "stop"}
        piece = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        return StubResponse(pieces=[piece, {**piece, "choices": [], "usage": usage}, "[DONE]"], delay=0.01)


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
    said: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """The exit code, and what was printed."""
        model = ["model=openai_compatible", f"model.base_url={self.url}", f"model.max_tokens={MOST}"]
        prices = [f"model.prices.input={INPUT}", f"model.prices.output={OUTPUT}"]
        asked = ["questions.path=questions.jsonl", "questions.limit=40"]
        usual = ["flow=chat", "guardrail=none", "evaluator=none", *asked, *model, *prices]
        named = {word.partition("=")[0] for word in arguments}
        code = main([*arguments, *(word for word in usual if word.partition("=")[0] not in named)])
        return code, "".join(self.said.readouterr())


@pytest.fixture
def flows(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Flows:
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"question": f"Question {n}?"}) for n in range(40)]
    Path("questions.jsonl").write_text("\n".join(rows))
    return Flows(tmp_path, url, capsys)


def summary(folder: Path) -> dict[str, Any]:
    last = max((folder / "outputs").glob("*/*/summary.json"), key=lambda path: path.stat().st_mtime_ns)
    found: dict[str, Any] = json.loads(last.read_text())
    return found


def spent(text: str, unit: str = "USD") -> float:
    [found] = re.findall(rf"^budget: .*?([\d.]+) of [\d.]+ {unit} spent", text, re.MULTILINE)
    return float(found)


def test_a_run_ends_where_its_budget_does_and_the_same_command_with_more_goes_on(
    flows: Flows, service: Service, tmp_path: Path
) -> None:
    code, told = flows("budget.usd=0.5")
    assert code == 1, told
    assert 0.4 < service.usd <= 0.5
    assert spent(told) == pytest.approx(service.usd, rel=1e-4)
    assert re.search(r"budget.usd=0.5 is used up: 0.\d+ spent, next call may cost 0.05\d*; what was answered", told)
    found = summary(tmp_path)
    assert found["budget"]["usd"]["limit"] == 0.5
    assert found["budget"]["usd"]["left"] == pytest.approx(0.5 - service.usd, abs=1e-6)
    assert found["answered"] == service.calls < 40

    known = service.calls
    code, told = flows("budget.usd=0")
    assert code == 1 and summary(tmp_path)["answered"] == known == service.calls
    assert "budget.usd=0 does not allow one call of default" in told

    code, told = flows("budget.usd=5")
    assert code == 0, told
    assert service.calls == 40 and summary(tmp_path)["stages"]["model"] == {"known": known, "computed": 40 - known}


@pytest.mark.parametrize(
    "how", [(), pytest.param(("sweep.workers=2",), marks=pytest.mark.slow)], ids=["one process", "two processes"]
)
def test_all_points_of_a_sweep_share_its_budget(flows: Flows, service: Service, how: tuple[str, ...]) -> None:
    code, told = flows("-m", "model.seed=1,2,3", "budget.usd=1", "budget.tokens=100000", *how)
    assert code == 3, told
    assert 0.85 < service.usd <= 1
    assert spent(told) == pytest.approx(service.usd, rel=1e-4)
    assert spent(told, "tokens") == service.tokens
    assert "budget.usd=1 is used up" in told


def test_hydras_own_sweeper_shares_the_budget_too(flows: Flows, service: Service) -> None:
    code, told = flows("-m", "model.seed=1,2", "budget.usd=0.5", "hydra/sweeper=basic")
    assert code in (1, 3), told
    assert 0.4 < service.usd <= 0.5


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("budget.usdd=5",), "did you mean 'usd'?"),
        (("budget.usd=-5",), "budget.usd (override budget.usd=-5): input should be greater than or equal to 0"),
        (("-m", "budget.usd=1,2"), "all points of a sweep share one budget"),
        (("-m", "budget.usd=1,2", "hydra/sweeper=basic"), "all points of a sweep share one budget"),
        (("-m", "budget.usd=1", "store=sqlite,memory"), "a budget needs one store"),
    ],
)
def test_a_mistake_in_a_budget_is_told_before_anything_is_asked(
    flows: Flows, service: Service, words: tuple[str, ...], told: str
) -> None:
    code, said = flows(*words)
    assert code == 2 and told in said
    assert service.calls == 0 and "budget:" not in said.replace("- budget:", "")


def test_check_and_plan_tell_a_budget_that_allows_no_call_or_cannot_be_kept(flows: Flows, service: Service) -> None:
    code, told = flows("check", "budget.usd=0.01")
    assert code == 0 and "budget.usd=0.01 does not allow one call of default, which may cost 0.05" in told
    code, told = flows("plan", "model.seed=1,2", "budget.usd=0.01")
    assert code == 0 and told.count("budget.usd=0.01 does not allow one call of default") == 1
    code, told = flows("check", "model.name=free", "model.prices.input=0", "model.prices.output=0", "budget.usd=1")
    assert code == 0 and "budget.usd=1 does not limit free, which has no price: give prices.input" in told
    assert service.calls == 0
