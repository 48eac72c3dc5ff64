"""Flows: in what order named stages run, checked for slots that nobody fills before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, ClassVar

from pydantic import Field, SerializeAsAny

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

    def needs(self, given: set[str]) -> tuple[dict[str, list[str]], set[str]]:
        """Slots that a stage must read but that nobody wrote before it (slot to stages), and all slots afterwards."""
        missing: dict[str, list[str]] = {}
        have = set(given)
        for name, part in self.parts.items():
            if isinstance(part, Composite):
                inner, after = part.needs(have if self.ordered else set(given))
                for slot, stages in inner.items():
                    missing.setdefault(slot, []).extend(f"{name}.{s}" for s in stages)
                have |= after
            elif isinstance(part, Stage):
                seen = have if self.ordered else given
                for slot, required in part.reads.items():
                    if required and slot not in seen:
                        missing.setdefault(slot, []).append(name)
                have.add(part.slot)
        return missing, have

    ordered: ClassVar[bool] = True


class Flow(Composite):
    """Stages one after the other, over one record. `inputs` are the slots that the caller fills.

    Attributes:
        name: what the flow is called in traces and results.
        inputs: slots that are given from outside; a record may hold more.
        stages: name to stage, in order.
    """

    name: str = "flow"
    inputs: tuple[str, ...] = ("question",)

    def unwritten_slots(self, *also: str) -> list[Problem]:
        """A fault for every slot that a stage reads and nobody writes."""
        missing, _ = self.needs({*self.inputs, *also})
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
        found = super().fingerprint(include_operational=include_operational)
        found.pop("name")
        return found


class Parallel(Composite):
    """Stages that do not read each other, at the same time."""

    ordered: ClassVar[bool] = False


class Fallback(Composite):
    """The first of its stages that does not fail answers, record by record."""

    ordered: ClassVar[bool] = False
