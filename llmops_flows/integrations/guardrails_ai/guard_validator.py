"""A validator that runs in a guardrails-ai `Guard`: an installed package, or a shipped validator."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from llmops_flows.artifacts.resources import shared
from llmops_flows.core.errors import ConfigError, Problem, StageError
from llmops_flows.text.suggestions import did_you_mean
from llmops_flows.text.validation import SlotValues, TextSpan, ValidationFailure, Validator

from .importing import import_guardrails, import_validator, is_installed


class GuardValidator(Validator):
    """Runs a validator class of guardrails-ai in a `Guard`, which is built once per process and configuration.

    The `Guard` always fixes; the guardrail stage applies `on_fail`.

    Attributes:
        of: name of the package `guardrails-ai-<name>`, or of a shipped validator.
        params: parameters of the validator.
        shipped: whether `of` is a shipped validator.
    """

    name: ClassVar[str] = "guard"
    of: str
    params: dict[str, Any] = {}
    shipped: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        return ("question", "documents", "context")

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        return {**super().fingerprint(include_operational=include_operational), "package": _version(self.of)}

    def problems(self) -> list[str]:
        """The unknown and missing parameters, read from the validator's source without importing it."""
        signature = _parameters(self.of) if is_installed(self.of) else None
        if signature is None:
            return []
        names, required, accepts_any = signature
        unknown = [] if accepts_any else [n for n in self.params if n not in names]
        missing = [n for n in required if n not in self.params]
        return [
            *(f"params: {self.of!r} has no parameter {n!r}; {did_you_mean(n, names)}" for n in unknown),
            *(f"params: {self.of!r} requires {n!r}" for n in missing),
        ]

    def validate_part(self, text: str, slots: SlotValues) -> ValidationFailure | None:
        result = shared(self, self._guard).validate(text, metadata=dict(slots))
        failed = [s for s in result.validation_summaries or [] if s.validator_status == "fail"]
        if not failed:
            return None
        fix = result.validated_output
        spans = tuple(TextSpan(span.reason, span.start, span.end) for span in failed[0].error_spans or ())
        return ValidationFailure(
            failed[0].failure_reason or "the text failed validation", fix if isinstance(fix, str) else None, spans
        )

    def _guard(self) -> Any:
        guard = import_guardrails().Guard(history_max_length=1)
        guard.configure(allow_metrics_collection=False)
        try:
            validator = self._class()(**self.params, on_fail="fix")
        except (TypeError, ValueError, AssertionError) as error:
            raise StageError(f"the validator {self.of!r} rejects its parameters: {error}") from error
        return guard.use(validator)

    def _class(self) -> Any:
        if self.shipped:
            from .validators import REGISTERED

            return REGISTERED[self.of]
        from guardrails.validator_base import Validator as GuardrailsValidator

        members = vars(import_validator(self.of)).values()
        classes = [
            c for c in members if isinstance(c, type) and issubclass(c, GuardrailsValidator) and _defined_in(c, self.of)
        ]
        expected = self.of.replace("_", "")
        classes.sort(key=lambda cls: cls.__name__.lower() != expected)
        if not classes:
            raise ConfigError(Problem(f"guardrails_ai.{self.of} has no validator", key=self.of))
        return classes[0]


def _defined_in(cls: type, name: str) -> bool:
    return f"{cls.__module__}.".startswith(f"guardrails_ai.{name}.")


def _version(name: str) -> str:
    versions = []
    for distribution in ("guardrails-ai", f"guardrails-ai-{name.replace('_', '-')}"):
        try:
            versions.append(version(distribution))
        except PackageNotFoundError:
            versions.append("")
    return " ".join(versions)


def _parameters(name: str) -> tuple[list[str], list[str], bool] | None:
    """Parameter names, required names, and whether others are accepted; None if the source does not define them."""
    spec = find_spec(f"guardrails_ai.{name}")
    if spec is None or spec.origin is None:
        return None
    for cls in _validator_classes(Path(spec.origin).parent):
        for part in cls.body:
            if isinstance(part, ast.FunctionDef) and part.name == "__init__":
                return _signature(part.args)
        return [], [], False
    return None


def _validator_classes(folder: Path) -> Iterator[ast.ClassDef]:
    for file in sorted(folder.rglob("*.py")):
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and any(map(_registers, node.decorator_list)):
                yield node


def _registers(decorator: ast.expr) -> bool:
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(function, ast.Name) and function.id == "register_validator"


def _signature(arguments: ast.arguments) -> tuple[list[str], list[str], bool]:
    positional = [a.arg for a in arguments.args][1:]
    required = positional[: len(positional) - len(arguments.defaults)]
    keyword_only = [a.arg for a in arguments.kwonlyargs]
    required += [n for n, default in zip(keyword_only, arguments.kw_defaults, strict=True) if default is None]
    names = [n for n in (*positional, *keyword_only) if n != "on_fail"]
    return names, [n for n in required if n != "on_fail"], arguments.kwarg is not None
