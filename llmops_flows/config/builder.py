"""Builds components from a resolved config. It reads `_target_` itself, so that a config cannot run other code."""

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

_MAX_DEPTH = 40


@dataclass
class Builder:
    """Builds components and collects problems. Equal configs return the same component.

    Attributes:
        trusted: packages whose component classes may be named.
        problems: collected so far.
        built: the components without problems, by their configs; the points of a sweep share them.
    """

    trusted: Sequence[str] = ("llmops_flows",)
    problems: list[Problem] = field(default_factory=list)
    built: dict[str, Part] = field(default_factory=dict)
    _failed: set[str] = field(default_factory=set)

    def part(self, config: Mapping[str, Any], key: str) -> Part | None:
        """The component that a mapping with `_target_` describes; None after a problem."""
        config_id = json.dumps([self.trusted, config], sort_keys=True, default=str)
        if config_id not in self.built and config_id not in self._failed:
            before = len(self.problems)
            part = self._build(config, key)
            if part is None or len(self.problems) > before:
                self._failed.add(config_id)
                return part
            self.built[config_id] = part
        return self.built.get(config_id)

    def value(self, config: Any, key: str, depth: int = 0) -> Any:
        """Plain data with every component in it built."""
        if depth > _MAX_DEPTH:
            self._problem(f"nested deeper than {_MAX_DEPTH} levels", key)
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
        bad_fields = component_problems(cls, fields, key)
        self.problems += [problem for problems in bad_fields.values() for problem in problems]
        failed_inside = len(self.problems) > before
        if failed_inside:
            fields = {k: v for k, v in fields.items() if not _has_target(config.get(k)) and k not in bad_fields}
        try:
            part = cls(**fields)
        except ValidationError as error:
            problems = field_problems(error, cls, key, fields)
            self.problems += [p for p in problems if not (failed_inside and p.what == MISSING)]
            self._check_libraries(cls, key)
            return None
        self._check_libraries(part, key)
        if failed_inside:
            return None
        for problem in [*(part.missing_declarations() if isinstance(part, Stage) else ()), *part.problems()]:
            self._problem(problem, key)
        return part

    def component(self, target: Any, key: str) -> type[Part] | None:
        """The class that a target names; None after a problem.

        Only a module of a trusted package is imported. It must define the class, which must be a component.
        """
        target_key = f"{key}.{TARGET}"
        module, _, name = str(target).rpartition(".")
        if not isinstance(target, str) or module.partition(".")[0] not in self.trusted:
            hint = f"name a component of a trusted package: {', '.join(self.trusted)}"
            self._problem(f"{target!r} is not in a trusted package", target_key, hint)
            return None
        try:
            cls = getattr(importlib.import_module(module), name, None)
        except Exception as error:  # a user's module can raise anything
            if not (isinstance(error, ImportError) and f"{module}.".startswith(f"{error.name}.")):
                what = f"the module {module!r} cannot be imported: {type(error).__name__}: {error}"
                self._problem(what, target_key, f"fix the module; `python -c 'import {module}'` shows the traceback")
                return None
            cls = None
        if not isinstance(cls, type) or not issubclass(cls, Part) or inspect.isabstract(cls):
            self._problem(f"{target!r} is not a component class", target_key, f"choose from: {_components(module)}")
            return None
        if cls.__module__ != module or cls.__qualname__ != name:
            defined = f"{cls.__module__}.{cls.__qualname__}"
            self._problem(f"{target!r} is not where the class is defined", target_key, f"write {defined}")
            return None
        return cls

    def _check_libraries(self, part: Part | type[Part], key: str) -> None:
        for library in part.requires:
            if not _installed(library):
                extra = part.extra
                command = extra if extra.startswith("pip ") else f"pip install 'llmops-flows[{extra}]'"
                self._problem(f"the library {library!r} is not installed", key, f"install it: {command}")

    def _problem(self, what: str, key: str, hint: str = "") -> None:
        self.problems.append(Problem(what, key=key, hint=hint))

    def raise_problems(self) -> None:
        """Raise ConfigError if there is a problem."""
        if self.problems:
            raise ConfigError(list(dict.fromkeys(self.problems)))


def trusted_packages(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The packages whose components a config may name: this one, installed plugins, and those under `trust`."""
    trust = config.get("trust") or ()
    named = [str(name) for name in trust] if isinstance(trust, (list, tuple)) else []
    return ("llmops_flows", *sorted({plugin.package for plugin in plugins()}), *named)


def _installed(library: str) -> bool:
    try:
        return importlib.util.find_spec(library) is not None
    except ModuleNotFoundError:  # the package that contains the library
        return False


def _has_target(config: Any) -> bool:
    if isinstance(config, Mapping):
        return TARGET in config or any(_has_target(v) for v in config.values())
    return isinstance(config, list) and any(_has_target(v) for v in config)


def _components(module: str) -> str:
    """The names of the component classes that a module defines."""
    try:
        values = vars(importlib.import_module(module)).items()
    except ImportError:
        return f"module {module!r} not found"
    names = [
        name
        for name, cls in values
        if isinstance(cls, type) and issubclass(cls, Part) and cls.__module__ == module and not inspect.isabstract(cls)
    ]
    return ", ".join(sorted(names)) or "none"
