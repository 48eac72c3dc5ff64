"""The guardrail stage: validators by name; ours run directly, those of guardrails-ai through its `Guard`."""

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
        name: of our validator, or of an installed package `guardrails-ai-<name>` (`guardrails_ai.<name>` where one of
            ours is called the same); by default its key in the list.
        on_fail: fix, refrain (the refusal is the answer), reask (the model), exception, or noop (only told).
        params: its parameters.
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
            raise PydanticCustomError("action", "this is no action; {hint}", {"hint": hint})
        return action


class ValidatorGuardrail(Guardrail):
    """Runs validators over the question or the answer, in order; each sees what the fixes before it made of the text.

    The first that blocks ends it. Verdicts are the same whichever way a validator runs; ours run without
    guardrails-ai, whose import costs seconds, unless `engine` asks for it.

    Attributes:
        on: question or answer: what is looked at. An answer's validators may look at question and documents, too; so
            may a question's, where the guardrail stands after the retriever.
        validators: name to on_fail and params; null switches one off.
        refusal: what is answered where a text is blocked.
        engine: auto, or guardrails: run our validators through a guardrails-ai `Guard`, too.
        stream: what is shown of an answer while it is written. certain: only what no later sentence can take back.
            passed: every sentence that passed, although a later one may still block the answer.
    """

    version: ClassVar[int] = 1
    validators: dict[str, ValidatorConfig | None] = Field(min_length=1)
    refusal: str = REFUSAL
    engine: Literal["auto", "guardrails"] = "auto"
    stream: Literal["certain", "passed"] = "certain"

    # -- what it is made of -------------------------------------------------------------------------------------

    @cached_property
    def used(self) -> dict[str, ValidatorConfig]:
        return {key: use for key, use in self.validators.items() if use is not None}

    @cached_property
    def rules(self) -> tuple[GuardrailRule, ...]:
        """The validators as they judge an unfinished answer: ours directly."""
        return tuple(GuardrailRule(key, _validator(key, use), use.on_fail) for key, use in self.used.items())

    @cached_property
    def deciding(self) -> tuple[GuardrailRule, ...]:
        """The validators as they judge a whole text."""
        if self.engine == "auto":
            return self.rules
        return tuple(
            GuardrailRule(rule.key, _through(rule.validator, self.used[rule.key]), rule.on_fail) for rule in self.rules
        )

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        own = {rule.key: rule.validator.fingerprint(include_operational=include_operational) for rule in self.rules}
        return {**super().fingerprint(include_operational=include_operational), "rules": own}

    @cached_property
    def reads(self) -> Mapping[str, bool]:
        needed = {slot for rule in self.rules for slot in rule.validator.reads}
        return {self.on: True, **dict.fromkeys(sorted(needed - {self.on}), False)}

    @cached_property
    def inline(self) -> bool:  # type: ignore[override]  # ours take microseconds, unless they embed
        return all(type(rule.validator) in _QUICK and not _embeds(rule.validator) for rule in self.deciding)

    # -- what is wrong with it ----------------------------------------------------------------------------------

    def problems(self) -> list[str]:
        found = [] if self.engine == "auto" or find_spec("guardrails") else [_NOT_INSTALLED]
        for key, use in self.used.items():
            found += [f"validators.{key}: {problem}" for problem in _problems(use.name or key, use)]
            if use.on_fail == "reask" and self.on == "question":
                found.append(f"validators.{key}: on_fail=reask asks the model again; a question has none to ask")
        return found

    # -- what it does -------------------------------------------------------------------------------------------

    def run(self, **slots: Any) -> Outcome:
        text = slots[self.on]
        return apply_rules(self.deciding, text, slots).outcome(self.refusal)

    def releases(self, beginning: str, facts: Mapping[str, Any]) -> str:
        return releasable_text(self.rules, beginning, facts, passed=self.stream == "passed")


_QUICK = frozenset(VALIDATORS.values())
FOREIGN = "guardrails_ai."
"""Before the name of a validator: the one of guardrails-ai, where one of ours has the same name."""
_NOT_INSTALLED = f"the library 'guardrails' is not installed; install it: pip install 'llmops-flows[{EXTRA}]'"


def _embeds(validator: Validator) -> bool:
    return getattr(validator, "embedder", None) is not None


def _validator(key: str, use: ValidatorConfig) -> Validator:
    name = use.name or key
    if name in VALIDATORS:
        return VALIDATORS[name](**use.params)
    return GuardValidator(of=name.removeprefix(FOREIGN), params=use.params)


def _through(validator: Validator, use: ValidatorConfig) -> Validator:
    if isinstance(validator, GuardValidator):
        return validator
    return GuardValidator(of=validator.name, params=use.params, ours=True)


def _problems(name: str, use: ValidatorConfig) -> list[str]:
    """What is wrong with one validator: its name, its package, its parameters."""
    if name in VALIDATORS:
        try:
            return VALIDATORS[name](**use.params).problems()
        except ValidationError as error:
            return _told(error, VALIDATORS[name])
    name = name.removeprefix(FOREIGN)
    if not is_installed(name):
        known = did_you_mean(name, {*VALIDATORS, *installed_validators()})
        return [
            f"there is no validator {name!r}; {known}; one of guardrails-ai is installed by: {install_command(name)}"
        ]
    if find_spec("guardrails") is None:
        return [_NOT_INSTALLED]
    return GuardValidator(of=name, params=use.params).problems()


def _told(error: ValidationError, cls: type[Validator]) -> list[str]:
    fields = [field.alias or name for name, field in cls.model_fields.items()]
    told = []
    for found in error.errors(include_url=False, include_context=False, include_input=False):
        place = ".".join(map(str, found["loc"]))
        if found["type"] == "extra_forbidden":
            told.append(f"params: {cls.name!r} has no {place!r}; {did_you_mean(place, fields)}")
        elif found["type"] == "missing":
            told.append(f"params.{place}: this must be given")
        else:
            told.append(f"params.{place}: {found['msg'][:1].lower()}{found['msg'][1:]}")
    return told
