"""Estimates of time and cost: from past answers of the same stages, at current prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from llmops_flows.core.record import Usage
from llmops_flows.core.roles import Model
from llmops_flows.core.stage import Part, Stage


@dataclass(frozen=True, slots=True)
class PastAnswer:
    """A computed answer.

    Attributes:
        place: the name of its stage in the flow. component: class of the stage. identity: of the stage.
        seconds: of computing it. usage: tokens and cost.
    """

    place: str
    component: str
    identity: str
    seconds: float
    usage: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartialSum:
    """A sum of the known parts; incomplete where a part is unknown, since nothing like it was ever computed."""

    known: float = 0.0
    incomplete: bool = False

    def __add__(self, other: PartialSum) -> PartialSum:
        return PartialSum(self.known + other.known, self.incomplete or other.incomplete)

    def __mul__(self, number: int) -> PartialSum:
        return PartialSum(self.known * number, self.incomplete)


UNKNOWN = PartialSum(incomplete=True)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Time, tokens and cost of a number of answers.

    Attributes:
        seconds: of work, one answer after another. tokens: input and output. usd: US dollars.
    """

    seconds: PartialSum = PartialSum()
    tokens: PartialSum = PartialSum()
    usd: PartialSum = PartialSum()

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(self.seconds + other.seconds, self.tokens + other.tokens, self.usd + other.usd)

    def __mul__(self, number: int) -> Estimate:
        return Estimate(self.seconds * number, self.tokens * number, self.usd * number)

    @property
    def complete(self) -> bool:
        """Whether every figure is known."""
        return not (self.seconds.incomplete or self.tokens.incomplete or self.usd.incomplete)


class History:
    """Past answers: of the same stage, else of stages of its class, else of its place in the flow."""

    def __init__(self, past: Iterable[PastAnswer]) -> None:
        self._like: dict[tuple[str, str], list[PastAnswer]] = {}
        for one in past:
            for mark in (("identity", one.identity), ("component", one.component), ("place", one.place)):
                self._like.setdefault(mark, []).append(one)

    def estimate(self, place: str, stage: Stage) -> Estimate:
        """One answer of a stage that is called `place` in its flow."""
        alike = self._of("identity", stage.identity) or self._of("component", component_name(stage))
        seconds = PartialSum(fmean(one.seconds for one in alike)) if alike else UNKNOWN
        if isinstance(stage, Model):
            # Other models in the same place have read and written about as many tokens.
            return Estimate(seconds, *_price(stage, alike or [o for o in self._of("place", place) if _tokens(o)]))
        if alike:
            cost = fmean(_figure(one, "cost_usd") for one in alike)
            return Estimate(seconds, PartialSum(fmean(map(_tokens, alike))), PartialSum(cost))
        return Estimate(seconds, UNKNOWN, UNKNOWN) if _calls_service(stage) else Estimate(seconds)

    def _of(self, kind: str, name: str) -> list[PastAnswer]:
        return self._like.get((kind, name), [])


def _price(model: Model, asked: list[PastAnswer]) -> tuple[PartialSum, PartialSum]:
    """Tokens and US dollars of one answer."""
    if not asked:
        return UNKNOWN, UNKNOWN if model.prices.model_fields_set else PartialSum()
    read = fmean(_figure(one, "input_tokens") for one in asked)
    written = min(fmean(_figure(one, "output_tokens") for one in asked), model.max_tokens)
    usage = Usage(input_tokens=read, output_tokens=written)  # type: ignore[typeddict-item]
    return PartialSum(read + written), PartialSum(model.prices.cost(usage)["cost_usd"])


def _calls_service(part: Part) -> bool:
    """Whether a part, or one of its parts, calls a service."""
    inner = (getattr(part, name) for name in type(part).model_fields)
    return hasattr(part, "limits") or any(_calls_service(one) for one in inner if isinstance(one, Part))


def component_name(stage: Stage) -> str:
    """The class of a stage, as traces name it."""
    cls = type(stage)
    return f"{cls.__module__}.{cls.__qualname__}"


def _tokens(one: PastAnswer) -> float:
    return _figure(one, "input_tokens") + _figure(one, "output_tokens")


def _figure(one: PastAnswer, name: str) -> float:
    return float(one.usage.get(name) or 0)


def format_count(figure: PartialSum) -> str:
    """A count for people: 320, 7.2 k, 1.4 M."""
    value = figure.known
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return _with_unknown(figure, f"{value / size:.1f}{unit}")
    return _with_unknown(figure, f"{value:.0f}")


def format_usd(figure: PartialSum) -> str:
    """US dollars, in cents or with two significant digits."""
    return _with_unknown(figure, f"${figure.known:.2f}" if figure.known >= 0.1 else f"${figure.known:.2g}")


def format_duration(figure: PartialSum) -> str:
    """Seconds, minutes or hours."""
    for size, unit in ((3600, " h"), (60, " min")):
        if figure.known >= size:
            return _with_unknown(figure, f"{figure.known / size:.1f}{unit}")
    return _with_unknown(figure, f"{figure.known:.1f} s")


def _with_unknown(figure: PartialSum, known: str) -> str:
    if figure.incomplete:
        return f"{known} + ?" if figure.known else "?"
    return known if figure.known else "-"
