"""A validator that is run by a guardrails-ai `Guard`: any installed one by name, or one of ours."""

from __future__ import annotations

import ast
from collections.abc import Iterator
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

    The Guard fixes, so that the fix is known; what is done about a failure is decided where every validator's is.

    Attributes:
        of: its name: of the package `guardrails-ai-<name>`, or of one of ours.
        params: its parameters.
        ours: whether it is one of ours.
    """

    name: ClassVar[str] = "through_guard"
    of: str
    params: dict[str, Any] = {}
    ours: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        return ("question", "documents", "context")

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        return {**super().fingerprint(include_operational=include_operational), "package": _version(self.of)}

    def problems(self) -> list[str]:
        """What the source of the validator says about its parameters; nothing is imported."""
        accepted = _parameters(self.of) if is_installed(self.of) else None
        if accepted is None:
            return []
        names, required, anything = accepted
        unknown = [] if anything else [n for n in self.params if n not in names]
        missing = [n for n in required if n not in self.params]
        return [f"params: {self.of!r} has no {n!r}; {did_you_mean(n, names)}" for n in unknown] + [
            f"params: {self.of!r} needs {n!r}" for n in missing
        ]

    def validate_part(self, text: str, facts: SlotValues) -> ValidationFailure | None:
        found = shared(self, self._guard).validate(text, metadata=dict(facts))
        failed = [one for one in found.validation_summaries or [] if one.validator_status == "fail"]
        if not failed:
            return None
        fix = found.validated_output
        spans = failed[0].error_spans or ()
        places = tuple(TextSpan(span.reason, span.start, span.end) for span in spans)
        return ValidationFailure(failed[0].failure_reason or "it failed", fix if isinstance(fix, str) else None, places)

    def _guard(self) -> Any:
        guard = import_guardrails().Guard(history_max_length=1)
        guard.configure(allow_metrics_collection=False)
        try:
            validator = self._class()(**self.params, on_fail="fix")
        except (TypeError, ValueError, AssertionError) as error:
            raise StageError(f"the validator {self.of!r} refuses its parameters: {error}") from error
        return guard.use(validator)

    def _class(self) -> Any:
        if self.ours:
            from .validators import REGISTERED

            return REGISTERED[self.of]
        from guardrails.validator_base import Validator as Foreign

        found = vars(import_validator(self.of))
        own = [c for c in found.values() if isinstance(c, type) and issubclass(c, Foreign) and _of(c, self.of)]
        wanted = self.of.replace("_", "")
        own.sort(key=lambda cls: cls.__name__.lower() != wanted)
        if not own:
            raise ConfigError(Problem(f"guardrails_ai.{self.of} holds no validator", key=self.of))
        return own[0]


def _of(cls: type, name: str) -> bool:
    return f"{cls.__module__}.".startswith(f"guardrails_ai.{name}.")


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for distribution in ("guardrails-ai", f"guardrails-ai-{name.replace('_', '-')}"):
        try:
            found.append(version(distribution))
        except PackageNotFoundError:
            found.append("")
    return " ".join(found)


def _parameters(name: str) -> tuple[list[str], list[str], bool] | None:
    """Parameter names, those without a default, and whether any other is taken; None where the source is unclear."""
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
            if isinstance(node, ast.ClassDef) and any(_registers(one) for one in node.decorator_list):
                yield node


def _registers(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(called, ast.Name) and called.id == "register_validator"


def _signature(arguments: ast.arguments) -> tuple[list[str], list[str], bool]:
    plain = [a.arg for a in arguments.args][1:]
    must = plain[: len(plain) - len(arguments.defaults)]
    by_name = [a.arg for a in arguments.kwonlyargs]
    must += [n for n, default in zip(by_name, arguments.kw_defaults, strict=True) if default is None]
    names = [n for n in (*plain, *by_name) if n != "on_fail"]
    return names, [n for n in must if n != "on_fail"], arguments.kwarg is not None
