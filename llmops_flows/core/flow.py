"""Flows: named stages in order, with a check that every slot that is read is written before."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, ClassVar

from pydantic import Field, SerializeAsAny, field_validator

from .errors import Problem
from .stage import Part, Stage

Stages = Annotated[dict[str, SerializeAsAny[Part] | None], Field(min_length=1)]


class Composite(Part):
    """Runs stages: Flow, Parallel, Fallback. Stages that are None (a part switched off) are skipped."""

    stages: Stages

    @cached_property
    def parts(self) -> dict[str, Part]:
        return {name: part for name, part in self.stages.items() if part is not None}

    def leaves(self, prefix: str = "") -> Iterator[tuple[str, Stage]]:
        """Every stage with its dotted name, in order."""
        for name, part in self.parts.items():
            if isinstance(part, Composite):
                yield from part.leaves(f"{prefix}{name}.")
            elif isinstance(part, Stage):
                yield f"{prefix}{name}", part

    def missing_slots(self, given: set[str]) -> tuple[dict[str, list[str]], set[str]]:
        """Missing slot to the stages that read it before it is written; and the slots that exist afterwards."""
        missing: dict[str, list[str]] = {}
        slots = set(given)
        for name, part in self.parts.items():
            if isinstance(part, Composite):
                inner, after = part.missing_slots(slots if self.ordered else set(given))
                for slot, stages in inner.items():
                    missing.setdefault(slot, []).extend(f"{name}.{s}" for s in stages)
                slots |= after
            elif isinstance(part, Stage):
                available = slots if self.ordered else given
                for slot, required in part.reads.items():
                    if required and slot not in available:
                        missing.setdefault(slot, []).append(name)
                slots.add(part.slot)
        return missing, slots

    ordered: ClassVar[bool] = True


class Flow(Composite):
    """Stages that execute in order, over one record.

    Attributes:
        name: the name of the flow in traces and results.
        inputs: slots that the caller fills; a record may have more.
        stages: name to stage, in order.
    """

    name: str = "flow"
    inputs: tuple[str, ...] = ("question",)

    def unwritten_slots(self, *also: str) -> list[Problem]:
        """A problem for every slot that a stage reads and no stage before it writes."""
        missing, _ = self.missing_slots({*self.inputs, *also})
        return [
            Problem(
                f"the stage {stage!r} reads the slot {slot!r}, which no stage before it writes",
                key=f"stages.{stage}",
                hint=f"put a stage that writes {slot!r} before it, or add {slot!r} to the flow's inputs",
            )
            for slot, stages in missing.items()
            for stage in stages
        ]

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        fields = super().fingerprint(include_operational=include_operational)
        fields.pop("name")
        return fields


class Parallel(Composite):
    """Stages that do not read each other, executed concurrently."""

    ordered: ClassVar[bool] = False


class Fallback(Composite):
    """Stages of which the first that does not fail answers, record by record. Holds stages and other Fallbacks.

    The answer of a later stage is not stored, so the next run tries the first stage again.
    """

    ordered: ClassVar[bool] = False

    @field_validator("stages")
    @classmethod
    def _holds_stages(cls, stages: dict[str, Part | None]) -> dict[str, Part | None]:
        for name, part in stages.items():
            if isinstance(part, Composite) and not isinstance(part, Fallback):
                raise ValueError(f"{name!r} must be a stage or a Fallback, got a {type(part).__name__}")
        return stages
