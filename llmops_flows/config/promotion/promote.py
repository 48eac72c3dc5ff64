"""Writes a run as a new flow: `conf/flow/NAME.yaml` with only the differences from the flow that it ran."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.redaction import MASK, has_secret
from llmops_flows.report.run_files import write_atomically
from llmops_flows.text.suggestions import did_you_mean

from ..compose import compose
from ..composition.composed import Composed
from ..experiment import build_experiment
from ..field_errors import TARGET
from ..files import groups, paths
from .flow_file import (
    NOT_IN_FLOW,
    FlowFile,
    FlowFileDifference,
    Reference,
    Values,
    differences,
    flow_only,
    is_path,
    put,
)

_MAX_ROUNDS = 20
"""How many times values are added to the file at most."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_UNREPORTED = ("home", "store", "tracer", "tags", "trust")
"""Keys left out without a report, since no answer depends on them."""


@dataclass(frozen=True)
class Promotion:
    """A flow file that reproduces a run.

    Attributes:
        path, text: the path and the content of the file.
        base: the flow that it extends.
        options: `group option` to provider, of the options that it uses in addition to those of its base.
        own: components in it that are not shipped.
        left: keys of the run that are left out, with their values.
        changed: stages whose code or documents changed since the run; their answers are computed again.
        null: keys that the run did not have; a file can set them to null, not remove them.
    """

    path: Path
    text: str
    base: str
    options: Mapping[str, str]
    own: tuple[str, ...]
    left: Mapping[str, Any]
    changed: tuple[str, ...] = ()
    null: tuple[str, ...] = ()

    def write(self) -> None:
        """Write the file atomically. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, self.text)


def promote(
    name: str,
    config: Mapping[str, Any],
    choices: Mapping[str, str],
    *,
    comments: Iterable[str] = (),
    identities: Mapping[str, str] | None = None,
    force: bool = False,
) -> Promotion:
    """The flow file that reproduces a run with `flow=NAME`.

    Args:
        config: the resolved config of the run; secrets may be redacted.
        choices: config group to the option chosen from it.
        comments: lines about the origin of the file.
        identities: stage to its identity in the run, where recorded.
        force: overwrite an existing file.

    Raises:
        ConfigError: the name is invalid or taken; or the run depends on something that a file cannot or must not
            contain (a secret, a file outside the project, a trusted package).
    """
    base = choices.get("flow", "")
    path = Path("conf") / "flow" / f"{name}.yaml"
    _check_name(name, base, path, force=force)
    default = compose([f"flow={base}"])
    wanted = flow_only(config)
    chosen = {g: o for g, o in choices.items() if g in wanted and default.choices.get(g, o) != o}
    added = {g: o for g, o in choices.items() if g in wanted and g not in default.raw}
    _check_options({**chosen, **added})
    file, composed, rest = _with_values(FlowFile(name, base, chosen, added), wanted)
    _check(rest, config, composed)
    text = file.text(comments)
    _check_text(text)
    experiment = build_experiment(composed)
    stages = {**dict(experiment.flow.leaves()), **experiment.evaluators}
    known = identities or {}
    changed = tuple(n for n, stage in stages.items() if known.get(n, stage.identity) != stage.identity)
    left = {
        k: config[k]
        for k in NOT_IN_FLOW
        if k not in _UNREPORTED and config.get(k) and config[k] != default.resolvable[0].get(k)
    }
    null = tuple(key for key, value in _leaves(file.values) if value is None and not _has(config, key))
    own = tuple(_own(composed.plain))
    return Promotion(path, text, base, _options(composed, {**chosen, **added}), own, left, changed, null)


def _with_values(file: FlowFile, wanted: Values) -> tuple[FlowFile, Composed, list[FlowFileDifference]]:
    """The file with the fewest necessary values, its config, and the differences that a file cannot express."""
    composed = file.composed()
    for _ in range(_MAX_ROUNDS):
        rest = [d for d in differences(wanted, composed) if not (d.replaces or _sets(file.values, d))]
        if not rest:
            break
        first = min(rest, key=lambda difference: difference.order)
        for difference in [d for d in rest if d.source == 0] if first.source == 0 else [first]:
            value = _portable(difference.value, ".".join(difference.key))
            file = replace(file, values=put(file.values, difference.key, value))
        composed = file.composed()
    return file, composed, differences(wanted, composed)


def _sets(values: Any, difference: FlowFileDifference) -> bool:
    """Whether the file sets this value already, without effect."""
    for step in difference.key:
        if not isinstance(values, Mapping) or step not in values:
            return False
        values = values[step]
    return True


def _leaves(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, Mapping) and values:
        for key, value in values.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    elif path:
        yield path, values


def _has(config: Any, key: str) -> bool:
    for step in key.split("."):
        if not isinstance(config, Mapping) or step not in config:
            return False
        config = config[step]
    return True


# -- paths, secrets, trust -------------------------------------------------------------------------------------------


def _portable(value: Any, key: str) -> Any:
    """A value without paths of this machine: relative to the project, to a flow's folder or to home."""
    if isinstance(value, Mapping):
        return {name: _portable(inner, f"{key}.{name}") for name, inner in value.items()}
    if isinstance(value, list):
        return [_portable(inner, key) for inner in value]
    if not isinstance(value, str) or not is_path(value):
        return value
    path = Path(value)
    for flow, folder in _flows():
        if path.is_relative_to(folder) and path != folder:
            return Reference("${flow_data:" + f"{flow},{path.relative_to(folder).as_posix()}" + "}")
    if path.is_relative_to(Path.cwd()):
        return path.relative_to(Path.cwd()).as_posix()
    if path.is_relative_to(paths.home()):
        return Reference("${home}/" + path.relative_to(paths.home()).as_posix())
    hint = "move it into the project, and run with a path relative to the project"
    raise ConfigError(Problem(f"{value!r} is outside the project", key, hint=hint))


def _flows() -> Iterator[tuple[str, Path]]:
    for flows in paths.project_dirs("flows"):
        for folder in sorted(flows.iterdir()) if flows.is_dir() else ():
            if paths.flow_dir(folder.name) == folder:
                yield folder.name, folder


def _check(rest: Sequence[FlowFileDifference], config: Mapping[str, Any], composed: Composed) -> None:
    problems = []
    for difference in rest:
        key = ".".join(difference.key)
        if MASK in str(difference.value):
            hint = "name an environment variable that contains it, run again, and promote that run"
            problems.append(Problem("the value is a secret, which is not recorded", key, hint=hint))
        elif difference.replaces:
            what = "the run replaced a component that its flow chooses from a config group"
            hint = "make it an option of that group (conf/GROUP/NAME.yaml), run with GROUP=NAME, and promote that run"
            problems.append(Problem(what, key, hint=hint))
        else:
            what = f"a flow file cannot set this to {difference.value!r}"
            problems.append(Problem(what, key, hint="choose an option of its group"))
    trusted = composed.resolvable[0].get("trust") or ()
    for package in config.get("trust") or ():
        if package not in trusted:
            hint = f"trust is not taken from a run: add `trust: [{package}]` to the file of the flow first"
            problems.append(Problem(f"the run trusted the package {package!r}", "trust", hint=hint))
    if problems:
        raise ConfigError(problems)


def _check_options(chosen: Mapping[str, str]) -> None:
    """Raise ConfigError for unknown options. The choices are read from a run's folder, which may not be trusted."""
    known = {group: groups.options(group) for group in chosen}
    unknown = {group: option for group, option in chosen.items() if option not in known[group]}
    if unknown:
        problems = (Problem(f"unknown {g} {o!r}", g, hint=did_you_mean(o, known[g])) for g, o in unknown.items())
        raise ConfigError(list(problems))


def _check_text(text: str) -> None:
    folders = {str(folder) for folder in (Path.home(), Path.cwd(), paths.home(), paths.PACKAGE.parent)}
    if has_secret(text) or MASK in text:
        raise ConfigError(Problem("the file would contain a secret", hint="name an environment variable instead"))
    used = [folder for folder in folders if len(folder) > 1 and re.search(rf"{re.escape(folder)}(?![\w.-])", text)]
    if used:
        hint = "run with paths that are relative to the project, and promote that run"
        raise ConfigError(Problem(f"the file would contain paths of this machine: {', '.join(used)}", hint=hint))


def _check_name(name: str, base: str, path: Path, *, force: bool) -> None:
    problem, known = None, groups.options("flow")
    if not _NAME.fullmatch(name):
        problem = Problem(f"invalid flow name {name!r}", hint="use letters, digits, - and _, without folder and .yaml")
    elif base not in known:
        problem = Problem(f"unknown flow {base!r} of the run", hint=did_you_mean(base, known))
    elif name == base:
        problem = Problem(f"the flow {name!r} would extend itself", hint="choose another name")
    elif path.exists() and not force:
        problem = Problem(f"{path} already exists", hint="choose another name, or overwrite it: --force")
    elif not path.exists() and name in known:
        problem = Problem(f"the file would hide the existing flow {name!r}", hint="choose another name")
    if problem is not None:
        raise ConfigError(problem)


# -- options and components -------------------------------------------------------------------------------------------


def _options(composed: Composed, chosen: Mapping[str, str]) -> dict[str, str]:
    """`group option` to its provider, of the options that the file chooses, and of all that are not shipped."""
    used = {}
    for group, option in composed.choices.items():
        base = group.partition("@")[0]
        files = ((provider, folder / base / f"{option}.yaml") for provider, folder in groups.search_path())
        provider = next((provider for provider, file in files if file.is_file()), None)
        own = provider not in (None, "llmops_flows") and base not in ("flow", *NOT_IN_FLOW)
        if provider is not None and (own or group in chosen):
            used[f"{group} {option}"] = "shipped" if provider == "llmops_flows" else provider
    return used


def _own(config: Any) -> list[str]:
    """The names of component classes that are not shipped."""
    names: dict[str, None] = {}
    if isinstance(config, Mapping):
        target = config.get(TARGET)
        if isinstance(target, str) and not target.startswith("llmops_flows."):
            names[target] = None
        for inner in config.values():
            names |= dict.fromkeys(_own(inner))
    elif isinstance(config, list):
        for inner in config:
            names |= dict.fromkeys(_own(inner))
    return list(names)
