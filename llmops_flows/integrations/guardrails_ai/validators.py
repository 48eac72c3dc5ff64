"""The shipped validators, registered with guardrails-ai: `Guard().use(PIIValidator(kinds=["email"], on_fail="fix"))`.

Importing this module imports guardrails-ai, which takes seconds; a flow imports it only with `engine: guardrails`.
The slots that a validator reads besides the text are metadata: `guard.validate(answer, metadata={"documents": ...})`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from llmops_flows.text import validation, validators

from .importing import import_guardrails

import_guardrails()

from guardrails.validator_base import (  # noqa: E402  # import_guardrails() disables its telemetry first
    ErrorSpan,
    FailResult,
    PassResult,
    ValidationResult,
    Validator,
    register_validator,
)


class RegisteredValidator(Validator):  # type: ignore[misc]
    """A guardrails-ai validator over a validator of `llmops_flows.text.validators`, whose fields are its parameters."""

    wrapped: ClassVar[type[validation.Validator]]

    def __init__(self, on_fail: Any = None, **params: Any) -> None:
        super().__init__(on_fail=on_fail, **params)
        self.validator = type(self).wrapped(**params)

    def _validate(self, value: Any, metadata: dict[str, Any]) -> ValidationResult:
        failure = self.validator.validate_text(str(value), metadata)
        if failure is None:
            return PassResult()
        spans = [ErrorSpan(start=span.start, end=span.end, reason=span.what) for span in failure.spans]
        return FailResult(error_message=failure.message, fix_value=failure.fix, error_spans=spans)


def _register(wrapped: type[validation.Validator]) -> type[RegisteredValidator]:
    namespace = {"wrapped": wrapped, "__module__": __name__, "__doc__": wrapped.__doc__}
    cls = type(f"{wrapped.__name__}Validator", (RegisteredValidator,), namespace)
    return register_validator(name=f"llmops_flows/{wrapped.name}", data_type="string")(cls)  # type: ignore[no-any-return]


NotEmptyValidator = _register(validators.NotEmpty)
PIIValidator = _register(validators.PII)
PromptInjectionValidator = _register(validators.PromptInjection)
ToxicityValidator = _register(validators.Toxicity)
AnswerableValidator = _register(validators.Answerable)
SupportedValidator = _register(validators.Supported)
ValidJsonValidator = _register(validators.ValidJson)
LengthValidator = _register(validators.Length)
ForbiddenTopicsValidator = _register(validators.ForbiddenTopics)

REGISTERED: dict[str, type[RegisteredValidator]] = {
    cls.wrapped.name: cls for cls in RegisteredValidator.__subclasses__()
}
"""Every class above by the name that configs use."""
