"""Validating a text: light validators one after the other, and what becomes of the text when one fails."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from llmops_flows.core.errors import GuardrailError
from llmops_flows.core.stage import Outcome, Part

OnFail = Literal["fix", "refrain", "reask", "exception", "noop"]
ON_FAIL: tuple[str, ...] = get_args(OnFail)
SlotValues = Mapping[str, Any]
"""What is known beside the text: `question`, `answer`, `documents`, `context`, as far as the record has them."""

_PIECE = re.compile(r"[^\n]*?(?:[.!?][\"')\]]*\s+|\n\s*|\Z)")


@dataclass(frozen=True, slots=True)
class TextSpan:
    """What was found where, in characters of the text."""

    what: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ValidationFailure:
    """Why a text fails, without quoting it; `fix` is the mended text, None where nothing can be put in its place."""

    message: str
    fix: str | None = None
    places: tuple[TextSpan, ...] = ()


class Validator(Part, ABC):
    """Judges one text, in microseconds and without a library.

    Attributes:
        name: what configs call it.
        by_sentence: a text fails if and only if one of its sentences does, and each sentence is mended by itself
            (its `fix` is never None; "" cuts it). Such a validator can judge an answer while it is written.
    """

    name: ClassVar[str]
    by_sentence: ClassVar[bool] = False

    @property
    def reads(self) -> tuple[str, ...]:
        """The facts that it looks at; where the documents that it needs are missing, it says nothing."""
        return ()

    @abstractmethod
    def validate_part(self, text: str, facts: SlotValues) -> ValidationFailure | None:
        """Why the text (or the sentence, where `by_sentence`) fails; None when it passes."""

    def always_passes(self, beginning: str) -> bool:
        """Whether every text that begins so passes."""
        return False

    def validate_text(self, text: str, facts: SlotValues) -> ValidationFailure | None:
        """Why the whole text fails; None when it passes."""
        if not self.by_sentence:
            return self.validate_part(text, facts)
        at, mended, messages, places = 0, "", [], []
        for sentence in sentence_parts(text):
            failure = self.validate_part(sentence, facts)
            mended += sentence if failure is None else failure.fix or ""
            if failure is not None:
                messages.append(failure.message)
                places += [TextSpan(p.what, p.start + at, p.end + at) for p in failure.places]
            at += len(sentence)
        if not messages:
            return None
        return ValidationFailure("; ".join(dict.fromkeys(messages)), mended.rstrip() or None, tuple(places))


@dataclass(frozen=True, slots=True)
class GuardrailRule:
    """A validator as a guardrail uses it: under which name, and what to do when it fails."""

    key: str
    validator: Validator
    on_fail: OnFail


@dataclass(frozen=True, slots=True)
class FailedRule:
    """A validator that failed, and what was done about it."""

    key: str
    on_fail: OnFail
    failure: ValidationFailure

    @property
    def blocks(self) -> bool:
        """Whether the text may not stand: the validators after it are not asked any more."""
        return self.on_fail in ("refrain", "reask") or (self.on_fail == "fix" and self.failure.fix is None)


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """What a chain of validators made of a text: the text with its fixes, and who failed, in order."""

    text: str
    failed: tuple[FailedRule, ...] = ()

    @property
    def action(self) -> str:
        """What was done: pass, noop, fix, refrain or reask."""
        if not self.failed:
            return "pass"
        last = self.failed[-1]
        if last.blocks:
            return "reask" if last.on_fail == "reask" else "refrain"
        return "fix" if any(f.on_fail == "fix" for f in self.failed) else "noop"

    @property
    def verdict(self) -> dict[str, Any]:
        """The finding as plain data, without the text."""
        failures = [
            {
                "validator": f.key,
                "message": f.failure.message,
                "on_fail": f.on_fail,
                "spans": [{"what": p.what, "start": p.start, "end": p.end} for p in f.failure.places],
            }
            for f in self.failed
        ]
        return {"passed": not self.failed, "action": self.action, "failures": failures}

    def outcome(self, refusal: str, *, cacheable: bool = True) -> Outcome:
        """What a guardrail answers: the text, or the refusal in its place."""
        if self.action == "reask":
            feedback = f"That answer cannot be used: {self.failed[-1].failure.message}. Answer the question again."
            return Outcome(refusal, verdict=self.verdict, retry=feedback, cacheable=cacheable)
        if self.action == "refrain":
            return Outcome(refusal, verdict=self.verdict, ends=True, cacheable=cacheable)
        return Outcome(self.text, verdict=self.verdict, cacheable=cacheable)


def apply_rules(rules: Sequence[GuardrailRule], text: str, facts: SlotValues) -> ValidationResult:
    """Ask the validators one after the other; each sees what the fixes before it made of the text.

    Raises:
        GuardrailError: a validator with on_fail=exception failed.
    """
    failed: list[FailedRule] = []
    for rule in rules:
        failure = rule.validator.validate_text(text, facts)
        if failure is None:
            continue
        if rule.on_fail == "exception":
            raise guardrail_error(rule.key, failure.message)
        failed.append(FailedRule(rule.key, rule.on_fail, failure))
        if failed[-1].blocks:
            break
        if rule.on_fail == "fix" and failure.fix is not None:
            text = failure.fix
    return ValidationResult(text, tuple(failed))


def guardrail_error(key: str, message: str) -> GuardrailError:
    """The error of a validator with on_fail=exception."""
    return GuardrailError(f"{key}: {message}", validator=key)


def releasable_text(rules: Sequence[GuardrailRule], beginning: str, facts: SlotValues, *, passed: bool = False) -> str:
    """What of an unfinished text may be shown already, fixes made.

    It is a beginning of every text that `check` can give for a text that begins so, and "" while a validator may
    still block the whole. With `passed`, a validator that blocks by sentence holds back only its own sentence and
    what follows: a later sentence can then still block a text whose beginning was shown.
    """
    parts = sentence_parts(beginning)[:-1]
    for rule in rules:
        validator = rule.validator
        if rule.on_fail == "noop":
            continue
        if validator.by_sentence and (rule.on_fail == "fix" or (passed and rule.on_fail != "reask")):
            parts = _mended(rule, parts, facts)
        elif not validator.always_passes("".join(parts)):
            return ""
    return "".join(parts).rstrip()


def _mended(rule: GuardrailRule, parts: Sequence[str], facts: SlotValues) -> list[str]:
    kept: list[str] = []
    for part in parts:
        failure = rule.validator.validate_part(part, facts) if part else None
        if failure is not None and rule.on_fail != "fix":
            break
        kept.append(part if failure is None else failure.fix or "")
    return kept


def sentence_parts(text: str) -> list[str]:
    """The text cut after every sentence and line; the parts add up to it. A part shows by itself where it ends.

    So the cuts of a text that goes on stay where they are, but for the last part, which may still grow.
    """
    return [match[0] for match in _PIECE.finditer(text) if match[0]]
