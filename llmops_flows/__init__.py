"""LLM pipelines as config: declared in Hydra YAML, run by one engine, nothing computed twice."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmops_flows.config.load import load_flow
    from llmops_flows.core.errors import (
        BackendError,
        BudgetExceeded,
        ConfigError,
        DeadlineExceeded,
        FlowError,
        GuardrailError,
        InputError,
        MissingExtra,
        StageError,
        StoreError,
    )
    from llmops_flows.core.flow import Fallback, Flow, Parallel
    from llmops_flows.core.record import Document, Message, Record, Usage
    from llmops_flows.core.roles import (
        Agent,
        Embedder,
        Evaluator,
        Guardrail,
        Model,
        Prompt,
        Reranker,
        Retriever,
        Splitter,
    )
    from llmops_flows.core.stage import OPERATIONAL, Call, Outcome, Part, Stage
    from llmops_flows.core.trace import Exporter, Trace
    from llmops_flows.engine.runner import Runner

_HOMES = {
    "config.load": ("load_flow",),
    "core.errors": (
        "BackendError",
        "BudgetExceeded",
        "ConfigError",
        "DeadlineExceeded",
        "FlowError",
        "GuardrailError",
        "InputError",
        "MissingExtra",
        "StageError",
        "StoreError",
    ),
    "core.flow": ("Fallback", "Flow", "Parallel"),
    "core.record": ("Document", "Message", "Record", "Usage"),
    "core.trace": ("Exporter", "Trace"),
    "engine.runner": ("Runner",),
    "core.stage": ("OPERATIONAL", "Call", "Outcome", "Part", "Stage"),
    "core.roles": (
        "Agent",
        "Embedder",
        "Evaluator",
        "Guardrail",
        "Model",
        "Prompt",
        "Reranker",
        "Retriever",
        "Splitter",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "OPERATIONAL",
    "Agent",
    "BackendError",
    "BudgetExceeded",
    "Call",
    "ConfigError",
    "DeadlineExceeded",
    "Document",
    "Embedder",
    "Evaluator",
    "Exporter",
    "Fallback",
    "Flow",
    "FlowError",
    "Guardrail",
    "GuardrailError",
    "InputError",
    "Message",
    "MissingExtra",
    "Model",
    "Outcome",
    "Parallel",
    "Part",
    "Prompt",
    "Record",
    "Reranker",
    "Retriever",
    "Runner",
    "Splitter",
    "Stage",
    "StageError",
    "StoreError",
    "Trace",
    "Usage",
    "load_flow",
]


def __getattr__(name: str) -> Any:
    """Public names are found when first used, so that importing the package imports nothing else."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
