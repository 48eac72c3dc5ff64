"""The errors of llmops_flows: each says what is wrong, where, and how to fix it.

FlowError
├── ConfigError            a config is wrong; `problems` lists everything           (exit code 2)
│   └── MissingExtra       a library of an optional extra is not installed
├── InputError             a flow was called with invalid inputs
├── StageError             a stage failed on one record; the other records continue  (exit code 1)
│   ├── GuardrailError     a guardrail with on_fail=exception refused the text
│   ├── BackendError       a model, vector store or other service refused or failed
│   └── DeadlineExceeded   the call exceeded its time limit
├── BudgetExceeded         the next call could exceed the budget
└── StoreError             the store can be neither read nor written
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


class FlowError(Exception):
    """The base class of all errors of llmops_flows."""

    def __init__(self, message: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.__dict__.update(details)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.__dict__)


def _rebuild(cls: type[FlowError], message: str, details: dict[str, Any]) -> FlowError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(details)
    return error


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a config: what, where, and how to fix it."""

    what: str
    key: str = ""
    where: str = ""
    hint: str = ""

    def __str__(self) -> str:
        location = " ".join(part for part in (self.key, f"({self.where})" if self.where else "") if part)
        head = f"{location}: {self.what}" if location else self.what
        return f"{head}\n    {self.hint}" if self.hint else head


class ConfigError(FlowError):
    """A config is wrong. `problems` holds everything that is wrong, not only the first."""

    problems: tuple[Problem, ...]

    def __init__(self, problems: str | Problem | Sequence[Problem]) -> None:
        if isinstance(problems, str):
            problems = Problem(problems)
        listed = (problems,) if isinstance(problems, Problem) else tuple(problems)
        count = f"{len(listed)} errors in the config" if len(listed) > 1 else "1 error in the config"
        super().__init__(count + ":\n" + "\n".join(f"  - {problem}" for problem in listed), problems=listed)


class MissingExtra(ConfigError):
    """A library that a component needs is not installed; the message names the install line."""

    def __init__(self, library: str, extra: str, needed_by: str = "") -> None:
        by = f", which {needed_by} needs," if needed_by else ""
        install = extra if extra.startswith("pip ") else f"pip install 'llmops-flows[{extra}]'"
        super().__init__(Problem(f"the library {library!r}{by} is not installed", hint=f"install it: {install}"))
        self.library = library


class InputError(FlowError):
    """A flow was called with invalid inputs; nothing was executed."""


class StageError(FlowError):
    """A stage failed on one record. The other records of the batch continue."""

    stage: str = ""


class GuardrailError(StageError):
    """A guardrail whose on_fail is `exception` refused the text."""


class BackendError(StageError):
    """A service refused or failed.

    Attributes:
        status: its HTTP status; 0: no response.
        retry_after: seconds that the service asks the client to wait; None: not given.
        retryable: whether another attempt can help.
        began: whether a part of the answer may have arrived.
        usage: tokens and cost of the call; empty if unknown.
    """

    status: int = 0
    retry_after: float | None = None
    retryable: bool = False
    began: bool = False
    usage: Mapping[str, Any] = MappingProxyType({})


class DeadlineExceeded(StageError):
    """The call exceeded its time limit, which includes its retries."""


class BudgetExceeded(FlowError):
    """The next call could exceed the budget; it was not made."""


class StoreError(FlowError):
    """The store can be neither read nor written."""
