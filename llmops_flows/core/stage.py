"""The base classes of components and stages: frozen configuration with an identity."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from .fingerprint import address, code, digest, encode, plain
from .record import Usage

if TYPE_CHECKING:
    from .store import Store


class _Operational:
    """Marks a field that does not change answers: timeouts, prices, keys, number of threads."""


OPERATIONAL = _Operational()
Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Part(BaseModel):
    """The base class of components. The fields are the configuration; they are frozen and validated.

    Attributes:
        version: increased when a code change affects answers. Components outside this package are identified by their
            source code instead.
        requires: the libraries that the component imports on first use.
        extra: the extra that installs them.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=False,
        protected_namespaces=(),
        defer_build=True,  # most classes are never used: building their schemas would slow every start
    )
    version: ClassVar[int] = 1
    requires: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""

    @cached_property
    def described(self) -> bytes:
        """Everything that decides the answers of this component, encoded: class, code, fields."""
        return encode(self.fingerprint())

    @cached_property
    def identity(self) -> str:
        """The address of everything that decides the answers of this component."""
        return digest(self.described)

    @cached_property
    def configuration(self) -> str:
        """The address of all fields, operational ones included. Components with equal addresses share resources."""
        return address(self.fingerprint(include_operational=True))

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        """The identity as plain data. Override it to add what the fields do not contain."""
        cls = type(self)
        return {
            "class": f"{cls.__module__}.{cls.__qualname__}",
            "code": code(cls),
            **{
                name: plain(getattr(self, name), include_operational=include_operational)
                for name in _fields(cls, include_operational)
            },
        }

    def problems(self) -> list[str]:
        """Errors in the configuration that the types of the fields do not cover. Imports no library."""
        return []


@cache
def _fields(cls: type[Part], include_operational: bool) -> tuple[str, ...]:
    return tuple(n for n, f in cls.model_fields.items() if include_operational or OPERATIONAL not in f.metadata)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The value that a stage returns, with its usage, verdict and notes.

    Attributes:
        value: plain data.
        usage: tokens and cost of the calls that the stage made.
        verdict: a guardrail's verdict (plain data).
        ends: whether the value is the flow's final answer, so that later stages do not run.
        retry: a guardrail's feedback (`reask`), with which the model runs again; if the retries
            fail, the value ends the flow.
        cacheable: False if the value must not be reused (a refusal, a truncated answer).
        notes: plain facts for the trace (model name, finish reason).
    """

    value: Any
    usage: Usage = field(default_factory=Usage)
    verdict: Mapping[str, Any] | None = None
    ends: bool = False
    retry: str = ""
    cacheable: bool = True
    notes: Mapping[str, Any] = field(default_factory=dict)


async def _no_runner(stage: Stage, inputs: Mapping[str, Any]) -> Outcome:
    raise RuntimeError("a stage that is called without a runner cannot call another stage")


@dataclass(frozen=True, slots=True)
class Call:
    """The context of one execution of a stage, passed to a `run` with a parameter `call`.

    Attributes:
        stage, record: the names of the stage and the record.
        token: shows a part of the answer while it is generated.
        cancelled: returns True once the caller has stopped waiting; long-running code checks it regularly.
        sample: the number of this sample of a random answer; None: the run takes one sample.
        store, home: where vectors and built indexes are stored.
        deadline: `time.monotonic()` at which the call ends.
        host: the object that the surrounding application passed.
        ask: `await call.ask(stage, inputs)` returns the Outcome of another stage. The call uses the cache and the call
            gate. Add the usage of the Outcome to that of the calling stage. Only for coroutines: a blocking stage would
            hold its thread while it waits for a second thread.
    """

    stage: str = ""
    record: str = ""
    token: Callable[[str], None] = lambda text: None
    cancelled: Callable[[], bool] = lambda: False
    sample: int | None = None
    store: Store | None = None
    home: Path | None = None
    deadline: float | None = None
    host: Any = None
    ask: Callable[[Stage, Mapping[str, Any]], Awaitable[Outcome]] = _no_runner


class Stage(Part):
    """A step: reads slots of a record, writes one.

    Subclasses define `run`. The names of its parameters are the slots that it reads (a default makes a slot optional;
    `call` is the `Call`). `run` may be a coroutine; a plain function runs in a thread, or on the event loop if the
    class sets `inline` (for microseconds of work). It returns plain data or an `Outcome`.

    A stage that is faster on many records also defines `run_many(inputs, calls)`, or only that if it overrides `reads`.
    `inputs` is a list of at most `batch` mappings of slot to value; `run_many` returns an answer or an exception for
    each. A class sets `gathered` if several stages write the same slot (scores).
    """

    writes: ClassVar[str] = ""
    inline: ClassVar[bool] = False
    gathered: ClassVar[bool] = False
    batch: ClassVar[int] = 256
    run: ClassVar[Callable[..., Any]]
    run_many: ClassVar[Callable[..., Any] | None] = None

    @property
    def reads(self) -> Mapping[str, bool]:
        """Slot to whether it is required."""
        return _parameters(type(self))

    @property
    def slot(self) -> str:
        """The slot that this stage writes."""
        return type(self).writes

    def missing_declarations(self) -> list[str]:
        """The declarations that its class lacks."""
        cls, missing = type(self), []
        if cls.reads is Stage.reads and not hasattr(cls, "run"):
            missing.append(f"{cls.__name__} defines no `run`, whose parameters name the slots that it reads")
        if not self.slot:
            missing.append(f'{cls.__name__} does not say which slot it writes: writes = "answer", without annotation')
        return missing

    @property
    def backend(self) -> str:
        """The service that the stage calls, through the call gate and within its `limits`; "": none."""
        return ""

    @property
    def max_concurrency(self) -> int | None:
        """The maximum number of concurrent calls; None: the number of workers, or `limits`."""
        return None

    @property
    def wants_call(self) -> bool:
        return _wants_call(type(self))

    @property
    def random(self) -> bool:
        """Whether answers to the same input may differ, so that they are stored by sample number only."""
        return False

    def max_cost(self, inputs: Mapping[str, Any]) -> Usage:
        """The maximum usage of one call with these inputs; empty if the call is free."""
        return Usage()

    def key(self, reads: Mapping[str, str], *, tenant: str = "", sample: int | None = None) -> str:
        """The address of an answer, from the addresses of the slots that the stage reads."""
        inputs = sorted((name, reads[name]) for name in self.reads if name in reads)
        return digest(self.identity, encode([tenant, inputs, sample if self.random else None]))


@cache
def _parameters(cls: type[Stage]) -> Mapping[str, bool]:
    parameters = list(inspect.signature(cls.run).parameters.values())[1:]
    return {p.name: p.default is p.empty for p in parameters if p.name != "call" and p.kind is not p.VAR_KEYWORD}


@cache
def _wants_call(cls: type[Stage]) -> bool:
    return "call" in inspect.signature(cls.run).parameters
