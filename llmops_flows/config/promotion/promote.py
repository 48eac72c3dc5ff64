"""A run made an option of its own: `conf/flow/NAME.yaml` says only in what the run was not as its flow is."""

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
from .flow_file import APART, FlowFile, Reference, Unlike, Values, flow_only, is_path, put, unlike

_MOST = 20
"""How many values that follow from others are set before it is given up."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_UNSAID = ("home", "store", "tracer", "tags", "trust")
"""Keys apart from the flow of which nothing needs to be told: no answer depends on them."""


@dataclass(frozen=True)
class Promotion:
    """An option file that does what a run did.

    Attributes:
        path, text: where it belongs, and what it holds.
        base: the flow that it rests on.
        options: `group option` that it rests on, beside those of its base, to who has the file.
        own: components of the user's own that run in it.
        left: keys of the run that are not taken over, with their values.
        changed: stages that are not what they were (their code, their documents): they will compute anew.
        null: keys that the run did without, which a file can only make null.
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
        """Write the file, whole or not at all. Raises OSError."""
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
    """The file that makes `flow=NAME` do what a run did.

    Args:
        config: the run's config, resolved; secrets may be masked. choices: config group to chosen option.
        comments: lines about where it comes from.
        identities: stage to its identity in the run, as far as they are on record.
        force: a file of that name may be overwritten.

    Raises:
        ConfigError: the name is none, or taken; or the run depends on what a file cannot or must not hold (a secret,
            a file outside the project, a package to be trusted).
    """
    base = choices.get("flow", "")
    path = Path("conf") / "flow" / f"{name}.yaml"
    _check_name(name, base, path, force=force)
    default = compose([f"flow={base}"])
    wanted = flow_only(config)
    chosen = {g: o for g, o in choices.items() if g in wanted and default.choices.get(g, o) != o}
    added = {g: o for g, o in choices.items() if g in wanted and g not in default.raw}
    _check_options({**chosen, **added})
    file, composed, rest = _made(FlowFile(name, base, chosen, added), wanted)
    _check(rest, config, composed)
    text = file.text(comments)
    _check_text(text)
    experiment = build_experiment(composed)
    stages = {**dict(experiment.flow.leaves()), **experiment.evaluators}
    known = identities or {}
    changed = tuple(n for n, stage in stages.items() if known.get(n, stage.identity) != stage.identity)
    left = {
        k: config[k] for k in APART if k not in _UNSAID and config.get(k) and config[k] != default.resolvable[0].get(k)
    }
    null = tuple(key for key, value in _leaves(file.values) if value is None and not _has(config, key))
    own = tuple(_own(composed.plain))
    return Promotion(path, text, base, _options(composed, {**chosen, **added}), own, left, changed, null)


def _made(file: FlowFile, wanted: Values) -> tuple[FlowFile, Composed, list[Unlike]]:
    """The file with the values that it must set: as few as carry all others; and what no file can say."""
    composed = file.composed()
    for _ in range(_MOST):
        rest = [one for one in unlike(wanted, composed) if not (one.replaces or _says(file.values, one))]
        if not rest:
            break
        first = min(one.order for one in rest)[0]
        now = [one for one in rest if one.taken == first] if first == 0 else [min(rest, key=lambda one: one.order)]
        for one in now:
            file = replace(file, values=put(file.values, one.key, _placed(one.value, ".".join(one.key))))
        composed = file.composed()
    return file, composed, unlike(wanted, composed)


def _says(values: Any, one: Unlike) -> bool:
    """Whether the values have said already what that leaf should be: then it helps no more to say it."""
    for step in one.key:
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


def _placed(value: Any, key: str) -> Any:
    """A value without a machine's paths: relative to the project, to a flow's folder or to home."""
    if isinstance(value, Mapping):
        return {name: _placed(inner, f"{key}.{name}") for name, inner in value.items()}
    if isinstance(value, list):
        return [_placed(inner, key) for inner in value]
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
    hint = "move it into the project, and run with its path from there; or give a path relative to the project"
    raise ConfigError(Problem(f"{value!r} lies outside the project: it is there on this machine only", key, hint=hint))


def _flows() -> Iterator[tuple[str, Path]]:
    for place in paths.project_dirs("flows"):
        for folder in sorted(place.iterdir()) if place.is_dir() else ():
            if paths.flow_dir(folder.name) == folder:
                yield folder.name, folder


def _check(rest: Sequence[Unlike], config: Mapping[str, Any], composed: Composed) -> None:
    problems = []
    for one in rest:
        if MASK in str(one.value):
            hint = "name an environment variable that holds it, run again, and promote that run"
            problems.append(Problem("this holds a secret, which is not on record", ".".join(one.key), hint=hint))
        elif one.replaces:
            what = "the run put another component here, where its flow takes one from a group of options"
            hint = "make it an option of that group (conf/GROUP/NAME.yaml), run with GROUP=NAME, and promote that run"
            problems.append(Problem(what, ".".join(one.key), hint=hint))
        else:
            hint = "choose it by an option of its group"
            problems.append(Problem(f"no file can make this {one.value!r}", ".".join(one.key), hint=hint))
    trusted = composed.resolvable[0].get("trust") or ()
    for package in config.get("trust") or ():
        if package not in trusted:
            hint = f"trust is never taken over from a run: add `trust: [{package}]` to the flow's own file first"
            problems.append(Problem(f"the run trusted the package {package!r}", "trust", hint=hint))
    if problems:
        raise ConfigError(problems)


def _check_options(chosen: Mapping[str, str]) -> None:
    """Options that are not there choose nothing; they are read from a folder that anybody may have written."""
    known = {group: groups.options(group) for group in chosen}
    gone = {group: option for group, option in chosen.items() if option not in known[group]}
    if gone:
        problems = (Problem(f"unknown {g} {o!r}", g, hint=did_you_mean(o, known[g])) for g, o in gone.items())
        raise ConfigError(list(problems))


def _check_text(text: str) -> None:
    places = {str(place) for place in (Path.home(), Path.cwd(), paths.home(), paths.PACKAGE.parent)}
    if has_secret(text) or MASK in text:
        raise ConfigError(Problem("the file would hold a secret", hint="name an environment variable instead"))
    found = [place for place in places if len(place) > 1 and re.search(rf"{re.escape(place)}(?![\w.-])", text)]
    if found:
        hint = "run with paths that are relative to the project, and promote that run"
        raise ConfigError(Problem(f"the file would hold paths of this machine: {', '.join(found)}", hint=hint))


def _check_name(name: str, base: str, path: Path, *, force: bool) -> None:
    problem, known = None, groups.options("flow")
    if not _NAME.fullmatch(name):
        problem = Problem(f"{name!r} is no name of a flow", hint="letters, digits, - and _; no folder, no .yaml")
    elif base not in known:
        problem = Problem(f"the run's flow {base!r} is not there", hint=did_you_mean(base, known))
    elif name == base:
        problem = Problem(f"the flow {name!r} would rest on itself", hint="choose another name")
    elif path.exists() and not force:
        problem = Problem(f"{path} already exists", hint="choose another name, or overwrite it: --force")
    elif not path.exists() and name in known:
        problem = Problem(f"there is a flow {name!r} already, which the file would hide", hint="choose another name")
    if problem is not None:
        raise ConfigError(problem)


# -- what it rests on ------------------------------------------------------------------------------------------------


def _options(composed: Composed, chosen: Mapping[str, str]) -> dict[str, str]:
    """`group option` to who has its file: of the options that the file chooses, and of all that are not shipped."""
    found = {}
    for group, option in composed.choices.items():
        base = group.partition("@")[0]
        places = ((who, folder / base / f"{option}.yaml") for who, folder in groups.search_path())
        who = next((who for who, file in places if file.is_file()), None)
        own = who not in (None, "llmops_flows") and base not in ("flow", *APART)
        if who is not None and (own or group in chosen):
            found[f"{group} {option}"] = "shipped" if who == "llmops_flows" else who
    return found


def _own(config: Any) -> list[str]:
    """Components that are not shipped, by the names of their classes."""
    found: dict[str, None] = {}
    if isinstance(config, Mapping):
        target = config.get(TARGET)
        if isinstance(target, str) and not target.startswith("llmops_flows."):
            found[target] = None
        for inner in config.values():
            found |= dict.fromkeys(_own(inner))
    elif isinstance(config, list):
        for inner in config:
            found |= dict.fromkeys(_own(inner))
    return list(found)
