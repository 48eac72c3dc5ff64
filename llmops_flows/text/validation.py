"""Validates a text: runs validators in order, and applies the action of each one that fails."""

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
"""The slots of the record besides the text: `question`, `answer`, `documents`, `context`, if it has them."""

_SENTENCE_PART = re.compile(r"[^\n]*?(?:[.!?][\"')\]]*\s+|\n\s*|\Z)")


@dataclass(frozen=True, slots=True)
class TextSpan:
    """A finding and its position in the text, in characters."""

    what: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ValidationFailure:
    """Why a text fails, without quoting it. `fix` is the corrected text, None if it cannot be corrected."""

    message: str
    fix: str | None = None
    spans: tuple[TextSpan, ...] = ()


class Validator(Part, ABC):
    """Checks a text.

    Attributes:
        name: its name in configs.
        by_sentence: a text fails if and only if one of its sentences fails, and each sentence has its own `fix`
            ("" removes it). Such a validator can check an answer while it is streamed.
    """

    name: ClassVar[str]
    by_sentence: ClassVar[bool] = False

    @property
    def reads(self) -> tuple[str, ...]:
        """The slots that it reads. It passes every text if the documents that it needs are missing."""
        return ()

    @abstractmethod
    def validate_part(self, text: str, slots: SlotValues) -> ValidationFailure | None:
        """Why the text (or the sentence, if `by_sentence`) fails; None if it passes."""

    def always_passes(self, beginning: str) -> bool:
        """Whether every text with this beginning passes."""
        return False

    def validate_text(self, text: str, slots: SlotValues) -> ValidationFailure | None:
        """Why the whole text fails; None if it passes."""
        if not self.by_sentence:
            return self.validate_part(text, slots)
        offset, fixed, messages, spans = 0, "", [], []
        for sentence in sentence_parts(text):
            failure = self.validate_part(sentence, slots)
            fixed += sentence if failure is None else failure.fix or ""
            if failure is not None:
                messages.append(failure.message)
                spans += [TextSpan(s.what, s.start + offset, s.end + offset) for s in failure.spans]
            offset += len(sentence)
        if not messages:
            return None
        return ValidationFailure("; ".join(dict.fromkeys(messages)), fixed.rstrip() or None, tuple(spans))


@dataclass(frozen=True, slots=True)
class GuardrailRule:
    """A validator of a guardrail with its key in the config and its action."""

    key: str
    validator: Validator
    on_fail: OnFail


@dataclass(frozen=True, slots=True)
class FailedRule:
    """A rule whose validator failed."""

    key: str
    on_fail: OnFail
    failure: ValidationFailure

    @property
    def blocks(self) -> bool:
        """Whether the text is blocked, so that the remaining validators do not run."""
        return self.on_fail in ("refrain", "reask") or (self.on_fail == "fix" and self.failure.fix is None)


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """The text with its fixes, and the rules that failed, in order."""

    text: str
    failed: tuple[FailedRule, ...] = ()

    @property
    def action(self) -> str:
        """pass, noop, fix, refrain or reask."""
        if not self.failed:
            return "pass"
        last = self.failed[-1]
        if last.blocks:
            return "reask" if last.on_fail == "reask" else "refrain"
        return "fix" if any(f.on_fail == "fix" for f in self.failed) else "noop"

    @property
    def verdict(self) -> dict[str, Any]:
        """The result as plain data, without the text."""
        failures = [
            {
                "validator": f.key,
                "message": f.failure.message,
                "on_fail": f.on_fail,
                "spans": [{"what": p.what, "start": p.start, "end": p.end} for p in f.failure.spans],
            }
            for f in self.failed
        ]
        return {"passed": not self.failed, "action": self.action, "failures": failures}

    def outcome(self, refusal: str, *, cacheable: bool = True) -> Outcome:
        """The outcome of a guardrail: the text, or the refusal if it is blocked."""
        if self.action == "reask":
            feedback = f"That answer cannot be used: {self.failed[-1].failure.message}. Answer the question again."
            return Outcome(refusal, verdict=self.verdict, retry=feedback, cacheable=cacheable)
        if self.action == "refrain":
            return Outcome(refusal, verdict=self.verdict, ends=True, cacheable=cacheable)
        return Outcome(self.text, verdict=self.verdict, cacheable=cacheable)


def apply_rules(rules: Sequence[GuardrailRule], text: str, slots: SlotValues) -> ValidationResult:
    """Run the validators in order; each receives the text with the previous fixes.

    Raises:
        GuardrailError: a validator with on_fail=exception failed.
    """
    failed: list[FailedRule] = []
    for rule in rules:
        failure = rule.validator.validate_text(text, slots)
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


def releasable_text(rules: Sequence[GuardrailRule], beginning: str, slots: SlotValues, *, passed: bool = False) -> str:
    """The part of an unfinished text that may be shown, with fixes.

    The result of every text with this beginning starts with this part; it is "" while a validator may still block the
    text. With `passed`, a validator that blocks by sentence withholds only the text from its failing sentence on,
    so a later sentence may block a text whose beginning was shown.
    """
    parts = sentence_parts(beginning)[:-1]
    for rule in rules:
        validator = rule.validator
        if rule.on_fail == "noop":
            continue
        if validator.by_sentence and (rule.on_fail == "fix" or (passed and rule.on_fail != "reask")):
            parts = _fixed_parts(rule, parts, slots)
        elif not validator.always_passes("".join(parts)):
            return ""
    return "".join(parts).rstrip()


def _fixed_parts(rule: GuardrailRule, parts: Sequence[str], slots: SlotValues) -> list[str]:
    fixed: list[str] = []
    for part in parts:
        failure = rule.validator.validate_part(part, slots) if part else None
        if failure is not None and rule.on_fail != "fix":
            break
        fixed.append(part if failure is None else failure.fix or "")
    return fixed


def sentence_parts(text: str) -> list[str]:
    """The text split after every sentence and line; the parts joined are the text.

    When the text grows, only its last part changes.
    """
    return [match[0] for match in _SENTENCE_PART.finditer(text) if match[0]]
