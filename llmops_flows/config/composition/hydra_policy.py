"""Checks which keys of `hydra.*` are set, and from where. Many can import and call any code, so most are refused.

The command line and the files of a project may set output folders, verbosity, and an installed launcher and sweeper.
Callbacks, search paths, and other handlers and targets are always refused. Plugins may set nothing.
See docs/decisions/hydra-keys.md.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmops_flows.core.errors import Problem
from llmops_flows.text.suggestions import did_you_mean

from ..files.yaml_file import YamlDocument

OWN = ("project", "command line", "llmops_flows")
REFUSED = {
    "callbacks": "a callback runs code: use a tracer to listen to runs",
    "searchpath": "put options into conf/ in your project, into a plugin, or into a folder named by --config-dir",
    "env": "set variables in the shell that starts the run",
    "runtime": "Hydra fills it in",
    "overrides": "Hydra fills it in",
    "hydra_help": "only the command line's own help is shown",
}
_LOGGING = ("job_logging", "hydra_logging")
_PLUGIN_KEYS = ("launcher", "sweeper")
_HANDLERS = re.compile(
    r"logging\.(StreamHandler|FileHandler|NullHandler|Formatter|handlers\.(Timed)?RotatingFileHandler)"
)
_COLORED = re.compile(r"colorlog\.ColoredFormatter")
_STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
_ROOTED = ("${hydra.runtime.", "/", "./", "[", "%")
"""Allowed beginnings of a text with interpolations: it cannot resolve to `ext://module.name`, which logging imports."""
_SAMPLERS = re.compile(r"optuna\.(samplers|pruners)\.[A-Z][A-Za-z]{2,40}")
_CALLS = ("_target_", "_args_", "_partial_", "_recursive_", "_convert_", "_execution_whitelist_")
_HOOKS = ("runtime_env", "custom_search_space")
"""Fields of launchers and sweepers that name code to run or packages to install."""


def override_problems(overrides: Sequence[Any], *, owner: bool) -> list[Problem]:
    """Problems of parsed overrides that set refused keys of Hydra."""
    return [problem for parsed in overrides for problem in _override(parsed, owner)]


def _override(parsed: Any, owner: bool) -> Iterator[Problem]:
    places = [parsed.key_or_group.replace("/", "."), *str(parsed.package or "").replace(":", " ").split()]
    for place in places:
        steps = place.lstrip("+~").removeprefix("_global_.").split(".")
        if steps[0] != "hydra":
            continue
        if not owner:
            what, hint = "hydra.* cannot be set here", "only the command line may set hydra.*"
            yield Problem(what, key=parsed.input_line, hint=hint)
        elif len(steps) > 1 and steps[1] in REFUSED:
            yield _refused(steps[1], "command line")
        elif place is not places[0] or steps == ["hydra"]:
            yield Problem(
                "a config group cannot be placed in hydra", key=parsed.input_line, where="command line", hint=_allowed()
            )


def file_problems(document: YamlDocument, package: str | None, *, foreign: bool) -> list[Problem]:
    """Problems of a file that sets keys of Hydra by its header, its defaults list, or a key `hydra`."""
    return list(_file(document, package or "", foreign))


def _file(document: YamlDocument, package: str, foreign: bool) -> Iterator[Problem]:
    if _sets_hydra(package):
        yield Problem(f"a file may not set {package!r}", where=f"{document.name}:1", hint=_allowed())
    for number, item in enumerate(document.data.get("defaults") or []):
        entry = next(iter(item)) if isinstance(item, Mapping) and item else str(item)
        group, _, place = entry.partition("@")
        named = group.split(" ")[-1].lstrip("/")
        if _sets_hydra(place) or (named.split("/")[0] == "hydra" and (foreign or _second(named) in REFUSED)):
            yield Problem(
                f"{entry!r} sets keys of Hydra", "defaults", _line(document, "defaults", str(number)), _allowed()
            )
    hydra = document.data.get("hydra") if package in ("", "_global_") else None
    if hydra is None:
        return
    if foreign:
        yield Problem("a plugin may not set hydra.*", "hydra", _line(document, "hydra"), "remove the key")
    elif not isinstance(hydra, Mapping):
        yield Problem("`hydra` must be a mapping", key="hydra", where=document.name)
    else:
        from hydra.conf import HydraConf

        yield from _unknown(hydra, HydraConf, ["hydra"], document)


def _line(document: YamlDocument, *steps: str) -> str:
    node = document.node(list(steps))
    return f"{document.name}:{node[1] if node else 1}"


def _sets_hydra(package: str) -> bool:
    return bool(re.search(r"(^|[.:])hydra($|[.:])", package))


def _second(group: str) -> str:
    return group.split("/")[1] if "/" in group else ""


def _unknown(given: Mapping[str, Any], schema: Any, path: list[str], document: YamlDocument) -> Iterator[Problem]:
    """A problem for every key that Hydra does not have, with its line."""
    fields = {f.name: f for f in dataclasses.fields(schema)} if schema is not None else {}
    for name, value in given.items():
        steps = [*path, str(name)]
        where = _line(document, *steps)
        if len(path) == 1 and name in REFUSED:
            yield _refused(str(name), where)
        elif fields and name not in fields:
            hint = did_you_mean(str(name), fields)
            yield Problem(f"unknown key {name!r} in {'.'.join(path)!r}", ".".join(steps), where, hint)
        elif fields and isinstance(value, Mapping):
            factory = fields[str(name)].default_factory
            inner = factory if dataclasses.is_dataclass(factory) else None
            if inner is not None:
                yield from _unknown(value, inner, steps, document)


def config_problems(hydra: Mapping[str, Any]) -> list[Problem]:
    """Problems of the composed `hydra.*`. `hydra`: its unresolved plain data."""
    problems = [_refused(name, "") for name in ("callbacks", "searchpath") if hydra.get(name)]
    if (hydra.get("job") or {}).get("env_set"):
        problems.append(
            Problem("environment variables cannot be set here", key="hydra.job.env_set", hint=REFUSED["env"])
        )
    for name in _LOGGING:
        problems += _logging(hydra.get(name), f"hydra.{name}")
    for name in _PLUGIN_KEYS:
        problems += _plugin_problems(hydra.get(name), f"hydra.{name}")
    return problems


def _logging(value: Any, key: str) -> Iterator[Problem]:
    """Problems of a logging config: only handlers and formatters of the standard library, and nothing to import."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            place = f"{key}.{name}"
            if name == "()" and not (isinstance(inner, str) and _COLORED.fullmatch(inner)):
                yield Problem(f"{inner!r} would be called", key=place, hint="`()` may name colorlog.ColoredFormatter")
            elif name == "class" and not (isinstance(inner, str) and _HANDLERS.fullmatch(inner)):
                hint = "choose from: logging.StreamHandler, FileHandler, NullHandler, handlers.RotatingFileHandler"
                yield Problem(f"the handler {inner!r} is not allowed", key=place, hint=hint)
            elif name != "()":
                yield from _logging(inner, place)
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from _logging(inner, f"{key}.{number}")
    elif isinstance(value, str) and "://" in value and value not in _STREAMS:
        yield Problem(f"{value!r} would be imported", key=key, hint=f"choose from: {', '.join(_STREAMS)}")
    elif isinstance(value, str) and "${" in value and not value.startswith(_ROOTED):
        yield Problem(
            f"{value!r} could resolve to anything", key=key, hint=f"begin it with one of: {'  '.join(_ROOTED)}"
        )


def _plugin_problems(value: Any, key: str) -> Iterator[Problem]:
    """Problems of the launcher or sweeper, which must be an installed plugin of Hydra with plain data as fields."""
    from hydra.core.plugins import Plugins

    if not isinstance(value, Mapping):
        return
    known = Plugins.instance().class_name_to_class
    target = value.get("_target_")
    if target is None and key.endswith("sweeper"):
        pass  # the settings of a search
    elif target not in known:
        names = sorted(name for name in known if name.rpartition(".")[2].lower().endswith(key.rpartition(".")[2]))
        yield Problem(
            f"unknown {key.rpartition('.')[2]} {target!r}", f"{key}._target_", hint=f"choose from: {', '.join(names)}"
        )
    yield from (p for n, v in value.items() if n != "_target_" for p in _calls(n, v, f"{key}.{n}"))


def _calls(name: Any, value: Any, key: str) -> Iterator[Problem]:
    if name in _HOOKS and value not in (None, {}, ""):
        yield Problem("this names code to run", key=key, hint="leave it out")
    elif name in _CALLS and not (name == "_target_" and isinstance(value, str) and _SAMPLERS.fullmatch(value)):
        yield Problem(f"{value!r} would be called", key=key, hint="choose from: the classes of optuna.samplers")
    elif isinstance(value, Mapping):
        yield from (p for n, v in value.items() for p in _calls(n, v, f"{key}.{n}"))
    elif isinstance(value, (list, tuple)):
        yield from (p for n, v in enumerate(value) for p in _calls(n, v, f"{key}.{n}"))


def _refused(name: str, where: str) -> Problem:
    return Problem(f"hydra.{name} is refused", key=f"hydra.{name}", where=where, hint=REFUSED[name])


def _allowed() -> str:
    return (
        "only these keys of hydra.* may be set: run.dir, sweep.dir, sweep.subdir, job.name, verbose, launcher, sweeper"
    )
