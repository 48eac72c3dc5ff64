"""A cache hit of one stage with its integrity check, compared with a hit of LangChain's SQLiteCache."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

from llmops_flows.core.cache_policy import CachePolicy
from llmops_flows.core.stage import Outcome
from llmops_flows.engine.answers.answer_cache import AnswerCache
from llmops_flows.stores.sqlite_store import SQLiteStore

from .measure import functions, print_result

TEXT = "In-network providers have agreed to accept the amount of payment offered by Northwind Health. " * 4


def main() -> None:
    warnings.simplefilter("ignore")
    from langchain_community.cache import SQLiteCache
    from langchain_core.outputs import Generation

    with tempfile.TemporaryDirectory() as folder:
        store = SQLiteStore(Path(folder) / "store.sqlite")
        answers = AnswerCache(store, CachePolicy(), lambda topic, message: None)
        answers.add("k" * 64, Outcome(TEXT), 0.1, cacheable=True)
        langchain_cache = SQLiteCache(f"{folder}/langchain.sqlite")
        langchain_cache.update("prompt", "model", [Generation(text=TEXT)])

        def hit() -> str:
            known = answers.look_up(["k" * 64])["k" * 64]
            slot = known.slot("model")
            slot.fill(answers.values([known.address])[known.address])
            return str(slot.value)

        assert hit() == TEXT and langchain_cache.lookup("prompt", "model")
        seconds = functions(
            {"stage hit": hit, "LangChain SQLiteCache hit": lambda: langchain_cache.lookup("prompt", "model")},
            rounds=7, calls=500,
        )  # fmt: skip
        store.close()
    ratio = seconds["stage hit"] / seconds["LangChain SQLiteCache hit"]
    rows = [(name, f"{value * 1e6:.0f} us") for name, value in seconds.items()]
    print_result(
        "Cache hit of one stage: read, checked and decoded", [*rows, ("ratio", f"{ratio:.2f}")], goal="at most 0.20"
    )


if __name__ == "__main__":
    main()
