"""Stages: configured steps of a flow, frozen, with an identity that decides what their answers are worth."""

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
    """Marks a field that decides no answer: timeouts, prices, keys, number of threads."""


OPERATIONAL = _Operational()
Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Part(BaseModel):
    """A component of a flow. Its fields are its configuration; they are frozen and checked.

    `version` is raised when the code would answer otherwise than before; a user's own component counts by its
    source instead. `requires` names the libraries it imports when first used, `extra` what installs them.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=False,
        protected_namespaces=(),
        defer_build=True,  # most classes are never made: their schemas would cost every start
    )
    version: ClassVar[int] = 1
    requires: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""

    @cached_property
    def described(self) -> bytes:
        """All that decides what this component answers, encoded: class, code, fields. Its digest is the identity."""
        return encode(self.fingerprint())

    @cached_property
    def identity(self) -> str:
        """Address of all that decides what this component answers: class, code, fields."""
        return digest(self.described)

    @cached_property
    def configuration(self) -> str:
        """Address of every field, the operational ones too: what may share one loaded resource."""
        return address(self.fingerprint(include_operational=True))

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        """The identity as plain data, for people and for diffs. Override to add what fields do not say."""
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
        """What is wrong with this configuration beyond its fields' types; checked without importing a library."""
        return []


@cache
def _fields(cls: type[Part], include_operational: bool) -> tuple[str, ...]:
    return tuple(n for n, f in cls.model_fields.items() if include_operational or OPERATIONAL not in f.metadata)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a stage answers, when it has more to say than the value.

    value: plain data. usage: tokens and cost of the calls it made. verdict: a guardrail's finding (plain data).
    ends: the value is the flow's final answer; the stages after it do not run. retry: ask the model again with
    this feedback (a guardrail's `reask`); when that does not help, the value ends the flow. cacheable: False when the
    value must not be answered a second time (a refusal, a truncated answer). notes: plain facts for the trace
    (model name, finish reason).
    """

    value: Any
    usage: Usage = field(default_factory=Usage)
    verdict: Mapping[str, Any] | None = None
    ends: bool = False
    retry: str = ""
    cacheable: bool = True
    notes: Mapping[str, Any] = field(default_factory=dict)


async def _nobody(stage: Stage, inputs: Mapping[str, Any]) -> Outcome:
    raise RuntimeError("a stage that is run by hand has no runner to ask another stage of")


@dataclass(frozen=True, slots=True)
class Call:
    """What surrounds one execution of a stage. A `run` that names a parameter `call` is given it.

    token: shows a piece of the answer while it is made. cancelled: True once nobody waits for the answer any
    more; long work asks now and then. sample: which sample of a random answer this is (None: the only one).
    store, home: where vectors and built indexes are kept. deadline: `time.monotonic()` by which to be done.
    ask: `await call.ask(stage, inputs)` is the Outcome of another stage, looked up, gated and kept like any. Its
    usage is what it cost now: add it to your own. For coroutines: a stage that blocks a thread of the runner while
    it waits for another thread may wait for ever.
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
    ask: Callable[[Stage, Mapping[str, Any]], Awaitable[Outcome]] = _nobody


class Stage(Part):
    """A step: reads slots of a record, writes one.

    Subclasses define `run`; the names of its parameters are the slots that it reads (a default makes a slot
    optional, the name `call` asks for the `Call`). `run` may be a coroutine; a plain function runs in a thread of
    the runner, or right away if the class says `inline` (for work of microseconds). It returns plain data or an
    `Outcome`. A stage that is faster on many records at once defines `run_many(inputs, calls)` beside `run` (or
    instead of it, where it overrides `reads`): `inputs` is a list of at most `batch` {slot: value}; it returns one
    answer (or exception) for each. Where several stages write the same slot side by side (scores), the class says
    `gathered`.
    """

    writes: ClassVar[str] = ""
    inline: ClassVar[bool] = False
    gathered: ClassVar[bool] = False
    batch: ClassVar[int] = 256
    run: ClassVar[Callable[..., Any]]
    run_many: ClassVar[Callable[..., Any] | None] = None

    @property
    def reads(self) -> Mapping[str, bool]:
        """Slot to whether it must be there."""
        return _parameters(type(self))

    @property
    def slot(self) -> str:
        """The slot that this stage writes."""
        return type(self).writes

    def missing_declarations(self) -> list[str]:
        """What its class does not say, and a runner must know."""
        cls, found = type(self), []
        if cls.reads is Stage.reads and not hasattr(cls, "run"):
            found.append(f"{cls.__name__} defines no `run`, whose parameters name the slots that it reads")
        if not self.slot:
            found.append(f'{cls.__name__} does not say which slot it writes: writes = "answer", without annotation')
        return found

    @property
    def backend(self) -> str:
        """The service that answers, if there is one: such a stage has `limits`, and is called through the gate."""
        return ""

    @property
    def max_concurrency(self) -> int | None:
        """How many of its calls can be served at once; None: as many as there are workers, or its limits allow."""
        return None

    @property
    def wants_call(self) -> bool:
        return _wants_call(type(self))

    @property
    def random(self) -> bool:
        """Whether two runs on the same input may differ, so that answers are kept by sample number only."""
        return False

    def max_cost(self, inputs: Mapping[str, Any]) -> Usage:
        """The most tokens and money that one call for these inputs can cost; nothing for what is free."""
        return Usage()

    def key(self, reads: Mapping[str, str], *, tenant: str = "", sample: int | None = None) -> str:
        """Address of this stage's answer, from the addresses of the slots that it reads."""
        wanted = sorted((name, reads[name]) for name in self.reads if name in reads)
        drawn = sample if self.random else None
        return digest(self.identity, encode([tenant, wanted, drawn]))


@cache
def _parameters(cls: type[Stage]) -> Mapping[str, bool]:
    parameters = list(inspect.signature(cls.run).parameters.values())[1:]
    return {p.name: p.default is p.empty for p in parameters if p.name != "call" and p.kind is not p.VAR_KEYWORD}


@cache
def _wants_call(cls: type[Stage]) -> bool:
    return "call" in inspect.signature(cls.run).parameters
