"""Processes that spend from one budget as fast as they can, with a model that has prices."""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Annotated, Any

from llmops_flows import Flow, Record, Runner
from llmops_flows.calls.budget_account import Budget, Ledger
from llmops_flows.calls.budget_reservation import BudgetMeter
from llmops_flows.components.prompt.chat import ChatPrompt
from llmops_flows.core.errors import BudgetExceeded
from llmops_flows.core.record import Message
from llmops_flows.core.roles import Model, Prices, Usage
from llmops_flows.core.stage import OPERATIONAL, Call, Outcome
from llmops_flows.testing.fakes import append_line, logged_calls

spawn = multiprocessing.get_context("spawn")


class Priced(Model):
    """Answers with up to `max_tokens` tokens, and writes the cost to the file `bill` before it answers.

    Like a service, it bills a call even if the caller is killed before the answer arrives.
    """

    name: str = "priced"
    bill: Annotated[Path, OPERATIONAL]
    pause: Annotated[float, OPERATIONAL] = 0.0

    @property
    def backend(self) -> str:
        return f"priced/{self.name}"

    def run(self, messages: list[Message], call: Call) -> Outcome:
        chance = random.Random(messages[0]["content"])
        given, made = chance.randint(1, len(messages[0]["content"])), chance.randint(1, self.max_tokens)
        usage = self.prices.cost(Usage(input_tokens=given, output_tokens=made, total_tokens=given + made))
        append_line(self.bill, repr(usage["cost_usd"]))
        time.sleep(chance.random() * self.pause)
        return Outcome("yes", usage=usage)


def priced(bill: Path, number: int, pause: float) -> Flow:
    """A flow with one of several models, expensive or cheap, with long or short answers."""
    chance = random.Random(number)
    prices = Prices(input=chance.uniform(0, 400), output=chance.uniform(1, 2000))
    model = Priced(name=f"m{number}", bill=bill, prices=prices, max_tokens=chance.randint(1, 200), pause=pause)
    return Flow(stages={"prompt": ChatPrompt(messages=[{"role": "user", "content": "{question}"}]), "model": model})


def spend(config: Any, account: str, budget: Budget, bill: Path, threads: int, pause: float, report: Path) -> None:
    """Ask questions in many threads until the budget is used up."""
    ledger: Ledger = config.open()
    meter = BudgetMeter(budget, ledger, account, new=False)
    seed = random.random()
    unexpected: list[str] = []

    def ask(number: int) -> None:
        flow = priced(bill, number, pause)
        for turn in range(100_000):
            [record] = runner.run(flow, [Record.of("1", {"question": f"{seed} {number} {turn}"})])
            if isinstance(record.error, BudgetExceeded):
                return
            if record.error is not None:
                unexpected.append(str(record.error))
                return

    with Runner(budget_meter=meter, workers=threads) as runner:
        workers = [threading.Thread(target=ask, args=(number,)) for number in range(threads)]
        for thread in workers:
            thread.start()
        for thread in workers:
            thread.join()
    report.write_text("\n".join(unexpected) or "used up")


def race(folder: Path, config: Any, *, processes: int, threads: int, kills: int, usd: float) -> None:
    """Spend from one budget in many processes, kill some of them, and check that the budget is never exceeded."""
    budget, bill, chance = Budget(usd=usd), folder / "bill", random.Random(6)
    ledger = config.open()
    spending = BudgetMeter(budget, ledger, "sweep")

    def start(number: int) -> Any:
        report = folder / f"report{number}"
        process = spawn.Process(target=spend, args=(config, "sweep", budget, bill, threads, 0.03, report))
        process.start()
        return process

    def billed() -> float:
        return math.fsum(map(float, logged_calls(bill)))

    working, started = [start(n) for n in range(processes)], processes
    for _ in range(kills):
        seen, until = len(logged_calls(bill)), time.monotonic() + 30
        while (
            len(logged_calls(bill)) < seen + threads and time.monotonic() < until and any(p.is_alive() for p in working)
        ):
            time.sleep(0.005)
        time.sleep(chance.random() * 0.03)
        victim = working.pop(chance.randrange(len(working)))
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        assert billed() <= usd
        working.append(start(started))
        started += 1
    for process in working:
        process.join(120)
        assert process.exitcode == 0
    statement = spending.statement()
    ledger.close()
    assert billed() <= statement.usd + 1e-6 <= usd + 2e-6
    assert statement.usd > usd * 0.8
    reports = [path.read_text() for path in folder.glob("report*")]
    assert reports and set(reports) == {"used up"}
