"""What of Hydra's own config may be set, and by whom: `hydra.*` can import and call anything, so most is refused.

The owner of the command line and of the project may say where output goes, how loud Hydra is, and which installed
launcher and sweeper run the jobs. Nobody sets callbacks, a search path, handlers or targets of another kind.
Plugins set nothing. Why: docs/decisions/hydra-keys.md.
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
    "callbacks": "a callback runs code: listen to a run with a tracer or a tracker instead",
    "searchpath": "put options into conf/ in your project, into a plugin, or into a folder named by --config-dir",
    "env": "set variables in the shell that starts the run",
    "runtime": "Hydra fills it in",
    "overrides": "Hydra fills it in",
    "hydra_help": "only the command line's own help is shown",
}
_LOGGING = ("job_logging", "hydra_logging")
_PLUGGED = ("launcher", "sweeper")
_HANDLERS = re.compile(
    r"logging\.(StreamHandler|FileHandler|NullHandler|Formatter|handlers\.(Timed)?RotatingFileHandler)"
)
_COLOURED = re.compile(r"colorlog\.ColoredFormatter")
_STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
_ROOTED = ("${hydra.runtime.", "/", "./", "[", "%")
"""How a text with interpolations may begin: none of these can become `ext://module.name`, which logging imports."""
_SAMPLERS = re.compile(r"optuna\.(samplers|pruners)\.[A-Z][A-Za-z]{2,40}")
_CALLS = ("_target_", "_args_", "_partial_", "_recursive_", "_convert_", "_execution_whitelist_")
_HOOKS = ("runtime_env", "custom_search_space")
"""Fields of launchers and sweepers that name code to run or packages to install."""


def override_problems(overrides: Sequence[Any], *, owner: bool) -> list[Problem]:
    """Faults of parsed overrides that would reach into Hydra where they may not."""
    return [problem for parsed in overrides for problem in _override(parsed, owner)]


def _override(parsed: Any, owner: bool) -> Iterator[Problem]:
    places = [parsed.key_or_group.replace("/", "."), *str(parsed.package or "").replace(":", " ").split()]
    for place in places:
        steps = place.lstrip("+~").removeprefix("_global_.").split(".")
        if steps[0] != "hydra":
            continue
        if not owner:
            what, hint = "Hydra's own config is not to be changed from here", "only the command line may set hydra.*"
            yield Problem(what, key=parsed.input_line, hint=hint)
        elif len(steps) > 1 and steps[1] in REFUSED:
            yield _refused(steps[1], "command line")
        elif place is not places[0] or steps == ["hydra"]:
            yield Problem("no group may be put there", key=parsed.input_line, where="command line", hint=_allowed())


def file_problems(page: YamlDocument, package: str | None, *, foreign: bool) -> list[Problem]:
    """Faults of a file that would reach into Hydra: by its header, its defaults list, or a key `hydra`."""
    return list(_file(page, package or "", foreign))


def _file(page: YamlDocument, package: str, foreign: bool) -> Iterator[Problem]:
    if _reaches(package):
        yield Problem(f"a file may not fill {package!r}", where=f"{page.name}:1", hint=_allowed())
    for number, item in enumerate(page.data.get("defaults") or []):
        entry = next(iter(item)) if isinstance(item, Mapping) and item else str(item)
        group, _, place = entry.partition("@")
        named = group.split(" ")[-1].lstrip("/")
        if _reaches(place) or (named.split("/")[0] == "hydra" and (foreign or _second(named) in REFUSED)):
            found = page.node(["defaults", str(number)])
            yield Problem(
                f"{entry!r} reaches into Hydra", "defaults", f"{page.name}:{found[1] if found else 1}", _allowed()
            )
    own = page.data.get("hydra") if package in ("", "_global_") else None
    if own is None:
        return
    if foreign:
        found = page.node(["hydra"])
        where = f"{page.name}:{found[1] if found else 1}"
        yield Problem("a plugin may not set Hydra's own config", key="hydra", where=where, hint="remove the key")
    elif not isinstance(own, Mapping):
        yield Problem("`hydra` must be a mapping", key="hydra", where=page.name)
    else:
        from hydra.conf import HydraConf

        yield from _unknown(own, HydraConf, ["hydra"], page)


def _reaches(package: str) -> bool:
    return bool(re.search(r"(^|[.:])hydra($|[.:])", package))


def _second(group: str) -> str:
    return group.split("/")[1] if "/" in group else ""


def _unknown(given: Mapping[str, Any], schema: Any, path: list[str], page: YamlDocument) -> Iterator[Problem]:
    """A fault for every key that Hydra does not know, with the line it stands in."""
    fields = {f.name: f for f in dataclasses.fields(schema)} if schema is not None else {}
    for name, value in given.items():
        steps = [*path, str(name)]
        found = page.node(steps)
        where = f"{page.name}:{found[1] if found else 1}"
        if len(path) == 1 and name in REFUSED:
            yield _refused(str(name), where)
        elif fields and name not in fields:
            hint = did_you_mean(str(name), fields)
            yield Problem(f"Hydra has no key {name!r} in {'.'.join(path)!r}", ".".join(steps), where, hint)
        elif fields and isinstance(value, Mapping):
            made = fields[str(name)].default_factory
            inner = made if dataclasses.is_dataclass(made) else None
            if inner is not None:
                yield from _unknown(value, inner, steps, page)


def config_problems(hydra: Mapping[str, Any]) -> list[Problem]:
    """Faults of Hydra's composed config, however its values came there. `hydra` is plain and unresolved."""
    found = [_refused(name, "") for name in ("callbacks", "searchpath") if hydra.get(name)]
    if (hydra.get("job") or {}).get("env_set"):
        found.append(Problem("environment variables are not set here", key="hydra.job.env_set", hint=REFUSED["env"]))
    for name in _LOGGING:
        found += _logging(hydra.get(name), f"hydra.{name}")
    for name in _PLUGGED:
        found += _plugged(hydra.get(name), f"hydra.{name}")
    return found


def _logging(value: Any, key: str) -> Iterator[Problem]:
    """Handlers and formatters of the standard library only; nothing that the logging module would import or call."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            place = f"{key}.{name}"
            if name == "()" and not (isinstance(inner, str) and _COLOURED.fullmatch(inner)):
                yield Problem(f"{inner!r} would be called", key=place, hint="`()` may name colorlog.ColoredFormatter")
            elif name == "class" and not (isinstance(inner, str) and _HANDLERS.fullmatch(inner)):
                hint = "choose from: logging.StreamHandler, FileHandler, NullHandler, handlers.RotatingFileHandler"
                yield Problem(f"{inner!r} is no handler that may be used", key=place, hint=hint)
            elif name != "()":
                yield from _logging(inner, place)
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from _logging(inner, f"{key}.{number}")
    elif isinstance(value, str) and "://" in value and value not in _STREAMS:
        yield Problem(f"{value!r} would be imported", key=key, hint=f"choose from: {', '.join(_STREAMS)}")
    elif isinstance(value, str) and "${" in value and not value.startswith(_ROOTED):
        yield Problem(f"{value!r} could become anything", key=key, hint=f"begin it with one of: {'  '.join(_ROOTED)}")


def _plugged(value: Any, key: str) -> Iterator[Problem]:
    """The launcher or sweeper: an installed plugin of Hydra's, whose fields are data."""
    from hydra.core.plugins import Plugins

    if not isinstance(value, Mapping):
        return
    known = Plugins.instance().class_name_to_class
    target = value.get("_target_")
    if target is None and key.endswith("sweeper"):
        pass  # a search of ours: settings, nothing to call
    elif target not in known:
        names = sorted(name for name in known if name.rpartition(".")[2].lower().endswith(key.rpartition(".")[2]))
        yield Problem(
            f"{target!r} is no {key.rpartition('.')[2]}", f"{key}._target_", hint=f"choose from: {', '.join(names)}"
        )
    yield from (f for n, v in value.items() if n != "_target_" for f in _calls(n, v, f"{key}.{n}"))


def _calls(name: Any, value: Any, key: str) -> Iterator[Problem]:
    if name in _HOOKS and value not in (None, {}, ""):
        yield Problem("this names code to run", key=key, hint="leave it out")
    elif name in _CALLS and not (name == "_target_" and isinstance(value, str) and _SAMPLERS.fullmatch(value)):
        yield Problem(f"{value!r} would be called", key=key, hint="choose from: the classes of optuna.samplers")
    elif isinstance(value, Mapping):
        yield from (f for n, v in value.items() for f in _calls(n, v, f"{key}.{n}"))
    elif isinstance(value, (list, tuple)):
        yield from (f for n, v in enumerate(value) for f in _calls(n, v, f"{key}.{n}"))


def _refused(name: str, where: str) -> Problem:
    return Problem(f"hydra.{name} is refused", key=f"hydra.{name}", where=where, hint=REFUSED[name])


def _allowed() -> str:
    return "of hydra.* one may set run.dir, sweep.dir, sweep.subdir, job.name, verbose, launcher, sweeper"
