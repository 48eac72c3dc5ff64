"""Our validators, registered the guardrails way: `Guard().use(PII(kinds=["email"], on_fail="fix"))`.

Importing this module imports guardrails-ai (seconds); flows do so only where their config asks for it. What a
validator looks at beside the text comes as metadata: `guard.validate(answer, metadata={"documents": …})`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from llmops_flows.text import validation, validators

from .library import guardrails

guardrails()

from guardrails.validator_base import (  # noqa: E402  # the library is made quiet first
    ErrorSpan,
    FailResult,
    PassResult,
    ValidationResult,
    Validator,
    register_validator,
)


class _Light(Validator):  # type: ignore[misc]
    """Asks one of the light validators of `stages.validators`, whose fields are the parameters."""

    check: ClassVar[type[validation.Validator]]

    def __init__(self, on_fail: Any = None, **params: Any) -> None:
        super().__init__(on_fail=on_fail, **params)
        self.light = type(self).check(**params)

    def _validate(self, value: Any, metadata: dict[str, Any]) -> ValidationResult:
        failure = self.light.assess(str(value), metadata)
        if failure is None:
            return PassResult()
        spans = [ErrorSpan(start=p.start, end=p.end, reason=p.what) for p in failure.places]
        return FailResult(error_message=failure.message, fix_value=failure.fix, error_spans=spans)


@register_validator(name="llmops_flows/not_empty", data_type="string")
class NotEmpty(_Light):
    check = validators.NotEmpty


@register_validator(name="llmops_flows/pii", data_type="string")
class PII(_Light):
    check = validators.PII


@register_validator(name="llmops_flows/prompt_injection", data_type="string")
class PromptInjection(_Light):
    check = validators.PromptInjection


@register_validator(name="llmops_flows/toxicity", data_type="string")
class Toxicity(_Light):
    check = validators.Toxicity


@register_validator(name="llmops_flows/answerable", data_type="string")
class Answerable(_Light):
    check = validators.Answerable


@register_validator(name="llmops_flows/supported", data_type="string")
class Supported(_Light):
    check = validators.Supported


@register_validator(name="llmops_flows/valid_json", data_type="string")
class ValidJson(_Light):
    check = validators.ValidJson


@register_validator(name="llmops_flows/length", data_type="string")
class Length(_Light):
    check = validators.Length


@register_validator(name="llmops_flows/forbidden_topics", data_type="string")
class ForbiddenTopics(_Light):
    check = validators.ForbiddenTopics


OURS: dict[str, type[_Light]] = {
    cls.check.name: cls
    for cls in (NotEmpty, PII, PromptInjection, Toxicity, Answerable, Supported, ValidJson, Length, ForbiddenTopics)
}
