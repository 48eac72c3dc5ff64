"""Builds components from a resolved config by our own reading of `_target_`, which can run nothing else."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.stage import Part, Stage

from .field_errors import MISSING, TARGET, component_problems, field_problems
from .files.plugins import plugins

_DEEPEST = 40


@dataclass
class Builder:
    """Builds parts and gathers faults. Equal configs give one part.

    Attributes:
        trusted: packages whose component classes may be named.
        faults: what was wrong so far.
        made: the parts that are without fault, by their configs; the points of a sweep share them.
    """

    trusted: Sequence[str] = ("llmops_flows",)
    problems: list[Problem] = field(default_factory=list)
    built: dict[str, Part] = field(default_factory=dict)
    _bad: set[str] = field(default_factory=set)

    def part(self, config: Mapping[str, Any], key: str) -> Part | None:
        """The component that a mapping with `_target_` describes; None after a fault."""
        mark = json.dumps([self.trusted, config], sort_keys=True, default=str)
        if mark not in self.built and mark not in self._bad:
            before = len(self.problems)
            part = self._build(config, key)
            if part is None or len(self.problems) > before:
                self._bad.add(mark)
                return part
            self.built[mark] = part
        return self.built.get(mark)

    def value(self, config: Any, key: str, depth: int = 0) -> Any:
        """Plain data with every component in it built."""
        if depth > _DEEPEST:
            self._problem(f"nested deeper than {_DEEPEST} levels", key)
            return None
        if isinstance(config, Mapping):
            if TARGET in config:
                return self.part(config, key)
            return {str(k): self.value(v, f"{key}.{k}", depth + 1) for k, v in config.items()}
        if isinstance(config, list):
            return [self.value(v, f"{key}.{n}", depth + 1) for n, v in enumerate(config)]
        return config

    def _build(self, config: Mapping[str, Any], key: str) -> Part | None:
        cls = self.component(config[TARGET], key)
        if cls is None:
            return None
        before = len(self.problems)
        fields = {str(k): self.value(v, f"{key}.{k}") for k, v in config.items() if k != TARGET}
        broken = component_problems(cls, fields, key)
        self.problems += [problem for found in broken.values() for problem in found]
        nested = len(self.problems) > before
        if nested:
            fields = {k: v for k, v in fields.items() if not _has_target(config.get(k)) and k not in broken}
        try:
            part = cls(**fields)
        except ValidationError as error:
            self.problems += [f for f in field_problems(error, cls, key, fields) if not (nested and _missing(f))]
            self._libraries(cls, key)
            return None
        self._libraries(part, key)
        if nested:
            return None
        for problem in [*(part.missing_declarations() if isinstance(part, Stage) else ()), *part.problems()]:
            self._problem(problem, key)
        return part

    def component(self, target: Any, key: str) -> type[Part] | None:
        """The class behind a target: its package trusted before it is imported, a component defined just there."""
        place = f"{key}.{TARGET}"
        module, _, name = str(target).rpartition(".")
        package = module.partition(".")[0]
        if not isinstance(target, str) or package not in self.trusted:
            hint = f"name a component of a trusted package: {', '.join(self.trusted)}"
            self._problem(f"{target!r} is not in a trusted package", place, hint)
            return None
        try:
            found = getattr(importlib.import_module(module), name, None)
        except Exception as error:  # whatever a user's module does when it is imported
            if not (isinstance(error, ImportError) and f"{module}.".startswith(f"{error.name}.")):
                what = f"the module {module!r} cannot be imported: {type(error).__name__}: {error}"
                self._problem(what, place, "mend the module; `python -c 'import MODULE'` shows where it breaks")
                return None
            found = None
        if not isinstance(found, type) or not issubclass(found, Part) or inspect.isabstract(found):
            self._problem(f"{target!r} is not a component class", place, f"choose from: {_components(module)}")
            return None
        if found.__module__ != module or found.__qualname__ != name:
            home = f"{found.__module__}.{found.__qualname__}"
            self._problem(f"{target!r} is not the defining module", place, f"name it by its home: {home}")
            return None
        return found

    def _libraries(self, part: Part | type[Part], key: str) -> None:
        for library in part.requires:
            if not _installed(library):
                extra = part.extra
                hint = extra if extra.startswith("pip ") else f"pip install 'llmops-flows[{extra}]'"
                self._problem(f"the library {library!r} is not installed", key, f"install it: {hint}")

    def _problem(self, what: str, key: str, hint: str = "") -> None:
        self.problems.append(Problem(what, key=key, hint=hint))

    def raise_problems(self) -> None:
        """Raises ConfigError if anything was wrong."""
        if self.problems:
            raise ConfigError(list(dict.fromkeys(self.problems)))


def _installed(library: str) -> bool:
    try:
        return importlib.util.find_spec(library) is not None
    except ModuleNotFoundError:  # the package that `library` is a module of
        return False


def _has_target(config: Any) -> bool:
    if isinstance(config, Mapping):
        return TARGET in config or any(_has_target(v) for v in config.values())
    return isinstance(config, list) and any(_has_target(v) for v in config)


def _missing(problem: Problem) -> bool:
    return problem.what == MISSING


def _components(module: str) -> str:
    try:
        found = vars(importlib.import_module(module))
    except ImportError:
        return f"no module {module!r}"
    names = [
        n
        for n, c in found.items()
        if isinstance(c, type) and issubclass(c, Part) and c.__module__ == module and not inspect.isabstract(c)
    ]
    return ", ".join(sorted(names)) or "none there"


def trusted_packages(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The packages whose components a config may name: this one, installed plugins, and those under `trust`."""
    trust = config.get("trust") or ()
    named = [str(name) for name in trust] if isinstance(trust, (list, tuple)) else []
    return ("llmops_flows", *sorted({plugin.package for plugin in plugins()}), *named)
