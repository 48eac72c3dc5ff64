"""The guardrail stage: shipped validators run directly, those of guardrails-ai through its `Guard`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib.util import find_spec
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from llmops_flows.core.roles import Guardrail
from llmops_flows.core.stage import Outcome
from llmops_flows.integrations.guardrails_ai.guard_validator import GuardValidator
from llmops_flows.integrations.guardrails_ai.importing import EXTRA, install_command, installed_validators, is_installed
from llmops_flows.text.overlap import REFUSAL
from llmops_flows.text.suggestions import did_you_mean
from llmops_flows.text.validation import ON_FAIL, GuardrailRule, OnFail, Validator, apply_rules, releasable_text
from llmops_flows.text.validators import VALIDATORS


class ValidatorConfig(BaseModel):
    """One validator of a guardrail.

    Attributes:
        name: a shipped validator or an installed package `guardrails-ai-<name>`; `guardrails_ai.<name>` selects the
            package if both exist. By default the key in the list.
        on_fail: fix, refrain (the refusal is the answer), reask (the model), exception, or noop (reported only).
        params: the parameters of the validator.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    name: str = ""
    on_fail: OnFail
    params: dict[str, Any] = {}

    @field_validator("on_fail", mode="before")
    @classmethod
    def known_action(cls, action: Any) -> Any:
        if action not in ON_FAIL:
            hint = did_you_mean(str(action), ON_FAIL)
            raise PydanticCustomError("action", "unknown action; {hint}", {"hint": hint})
        return action


class ValidatorGuardrail(Guardrail):
    """Runs validators over the question or the answer, in order; each receives the text with the fixes before it.

    The first validator that blocks ends the check. Shipped validators run without guardrails-ai, whose import takes
    seconds, unless `engine` selects it; the verdicts are the same.

    Attributes:
        on: the slot that is checked: question or answer. Validators may also read the question and the documents, if
            an earlier stage has written them.
        validators: key to validator; null disables a validator.
        refusal: the answer when a text is blocked.
        engine: auto, or guardrails to run shipped validators through a guardrails-ai `Guard` too.
        stream: the part of a streamed answer that is shown. certain: text that no later sentence can change. passed:
            every sentence that passed, although a later sentence may block the answer.
    """

    version: ClassVar[int] = 1
    validators: dict[str, ValidatorConfig | None] = Field(min_length=1)
    refusal: str = REFUSAL
    engine: Literal["auto", "guardrails"] = "auto"
    stream: Literal["certain", "passed"] = "certain"

    @cached_property
    def enabled(self) -> dict[str, ValidatorConfig]:
        return {key: config for key, config in self.validators.items() if config is not None}

    @cached_property
    def rules(self) -> tuple[GuardrailRule, ...]:
        """The rules for an unfinished answer, with shipped validators run directly."""
        return tuple(GuardrailRule(key, _validator(key, c), c.on_fail) for key, c in self.enabled.items())

    @cached_property
    def engine_rules(self) -> tuple[GuardrailRule, ...]:
        """The rules for a complete text, run by `engine`."""
        if self.engine == "auto":
            return self.rules
        return tuple(
            GuardrailRule(rule.key, _through_guard(rule.validator, self.enabled[rule.key]), rule.on_fail)
            for rule in self.rules
        )

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        rules = {rule.key: rule.validator.fingerprint(include_operational=include_operational) for rule in self.rules}
        return {**super().fingerprint(include_operational=include_operational), "rules": rules}

    @cached_property
    def reads(self) -> Mapping[str, bool]:
        slots = {slot for rule in self.rules for slot in rule.validator.reads}
        return {self.on: True, **dict.fromkeys(sorted(slots - {self.on}), False)}

    @cached_property
    def inline(self) -> bool:  # type: ignore[override]  # shipped validators take microseconds
        return all(type(rule.validator) in _SHIPPED and not _embeds(rule.validator) for rule in self.engine_rules)

    def problems(self) -> list[str]:
        problems = [] if self.engine == "auto" or find_spec("guardrails") else [_NOT_INSTALLED]
        for key, config in self.enabled.items():
            problems += [f"validators.{key}: {problem}" for problem in _problems(config.name or key, config)]
            if config.on_fail == "reask" and self.on == "question":
                problems.append(f"validators.{key}: on_fail=reask requires on=answer, because it calls the model again")
        return problems

    def run(self, **slots: Any) -> Outcome:
        return apply_rules(self.engine_rules, slots[self.on], slots).outcome(self.refusal)

    def releases(self, beginning: str, slots: Mapping[str, Any]) -> str:
        return releasable_text(self.rules, beginning, slots, passed=self.stream == "passed")


_SHIPPED = frozenset(VALIDATORS.values())
PACKAGE_PREFIX = "guardrails_ai."
"""Before a validator's name, selects the package of guardrails-ai instead of a shipped validator."""
_NOT_INSTALLED = f"the library 'guardrails' is not installed; install it: pip install 'llmops-flows[{EXTRA}]'"


def _embeds(validator: Validator) -> bool:
    return getattr(validator, "embedder", None) is not None


def _validator(key: str, config: ValidatorConfig) -> Validator:
    name = config.name or key
    if name in VALIDATORS:
        return VALIDATORS[name](**config.params)
    return GuardValidator(of=name.removeprefix(PACKAGE_PREFIX), params=config.params)


def _through_guard(validator: Validator, config: ValidatorConfig) -> Validator:
    if isinstance(validator, GuardValidator):
        return validator
    return GuardValidator(of=validator.name, params=config.params, shipped=True)


def _problems(name: str, config: ValidatorConfig) -> list[str]:
    """The problems of one validator: its name, its package, its parameters."""
    if name in VALIDATORS:
        try:
            return VALIDATORS[name](**config.params).problems()
        except ValidationError as error:
            return _parameter_problems(error, VALIDATORS[name])
    name = name.removeprefix(PACKAGE_PREFIX)
    if not is_installed(name):
        hint = did_you_mean(name, {*VALIDATORS, *installed_validators()})
        return [f"unknown validator {name!r}; {hint}; to install one of guardrails-ai: {install_command(name)}"]
    if find_spec("guardrails") is None:
        return [_NOT_INSTALLED]
    return GuardValidator(of=name, params=config.params).problems()


def _parameter_problems(error: ValidationError, cls: type[Validator]) -> list[str]:
    fields = [field.alias or name for name, field in cls.model_fields.items()]
    problems = []
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        field = ".".join(map(str, detail["loc"]))
        if detail["type"] == "extra_forbidden":
            problems.append(f"params: {cls.name!r} has no parameter {field!r}; {did_you_mean(field, fields)}")
        elif detail["type"] == "missing":
            problems.append(f"params.{field}: a value is required")
        else:
            problems.append(f"params.{field}: {detail['msg'][:1].lower()}{detail['msg'][1:]}")
    return problems
