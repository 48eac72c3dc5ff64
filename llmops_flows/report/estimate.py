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
    """A sum of the known parts; incomplete where a part is unknown, because no such answer was ever computed."""

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
    """Past answers by stage, by class of the stage, and by its name in the flow. Estimates use the first that exist."""

    def __init__(self, past: Iterable[PastAnswer]) -> None:
        self._answers: dict[tuple[str, str], list[PastAnswer]] = {}
        for answer in past:
            for kind in ("identity", "component", "place"):
                self._answers.setdefault((kind, getattr(answer, kind)), []).append(answer)

    def estimate(self, place: str, stage: Stage) -> Estimate:
        """The estimate of one answer of a stage with the name `place` in its flow."""
        similar = self._of("identity", stage.identity) or self._of("component", component_name(stage))
        seconds = PartialSum(fmean(answer.seconds for answer in similar)) if similar else UNKNOWN
        if isinstance(stage, Model):
            # Other models at the same place of the flow read and write about as many tokens.
            models = similar or [answer for answer in self._of("place", place) if _tokens(answer)]
            return Estimate(seconds, *_tokens_and_usd(stage, models))
        if similar:
            cost = fmean(_usage(answer, "cost_usd") for answer in similar)
            return Estimate(seconds, PartialSum(fmean(map(_tokens, similar))), PartialSum(cost))
        return Estimate(seconds, UNKNOWN, UNKNOWN) if _calls_service(stage) else Estimate(seconds)

    def _of(self, kind: str, name: str) -> list[PastAnswer]:
        return self._answers.get((kind, name), [])


def _tokens_and_usd(model: Model, answers: list[PastAnswer]) -> tuple[PartialSum, PartialSum]:
    """Tokens and US dollars of one answer."""
    if not answers:
        return UNKNOWN, UNKNOWN if model.prices.model_fields_set else PartialSum()
    read = fmean(_usage(answer, "input_tokens") for answer in answers)
    written = min(fmean(_usage(answer, "output_tokens") for answer in answers), model.max_tokens)
    usage = Usage(input_tokens=read, output_tokens=written)  # type: ignore[typeddict-item]
    return PartialSum(read + written), PartialSum(model.prices.cost(usage)["cost_usd"])


def _calls_service(part: Part) -> bool:
    """Whether a part, or one of its parts, calls a service."""
    inner = (getattr(part, name) for name in type(part).model_fields)
    return hasattr(part, "limits") or any(_calls_service(value) for value in inner if isinstance(value, Part))


def component_name(stage: Stage) -> str:
    """The class of a stage, as traces name it."""
    cls = type(stage)
    return f"{cls.__module__}.{cls.__qualname__}"


def _tokens(answer: PastAnswer) -> float:
    return _usage(answer, "input_tokens") + _usage(answer, "output_tokens")


def _usage(answer: PastAnswer, name: str) -> float:
    return float(answer.usage.get(name) or 0)


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
