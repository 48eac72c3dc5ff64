"""Everything that is wrong with overrides and files, told at once: each fault with its place and the nearest name."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from llmops_flows.core.errors import ConfigError, Fault, did_you_mean

from .compose import NO_FLOW
from .defaults import entry_faults, groups, option_fault, options
from .fields import NOTHING
from .paths import ROOT

if TYPE_CHECKING:
    from .compose import Composed
    from .loading import Loader

LINE = "command line"
_FURTHEST = 10
"""Interpolations in a row that are followed to where a value comes from."""
SEVERAL = "several values are given, and this is one run"
_SEVERAL = re.compile(r"(?:Ambiguous value for argument|Sweep parameters) '(.+)'")
FAILURES = (HydraException, OmegaConfBaseException, YAMLError, ConfigError, ValueError, TypeError, AssertionError)
"""What composing raises when a user made a mistake. Hydra checks some of what users write by assert."""


def diagnose(
    ours: Loader, overrides: Sequence[str], error: BaseException, *, owner: bool = False, several: bool = False
) -> list[Fault]:
    """Every fault of the overrides, of the files and of what they build; failing that, the error itself.

    Args:
        owner: overrides may reach into Hydra.
        several: a key may be given several values, as in a sweep.
    """
    from .loading import hydra_faults

    faults = refused(overrides, owner=owner)
    if faults:
        overrides = [o for o in overrides if not hydra_faults([o], owner=owner)]
    good, unreadable = _parsed(overrides, several)
    faults += unreadable
    ours.strict = False
    chosen: dict[str, Any] = {}
    keys = [(text, parsed) for text, parsed in good if not _chooses(ours, parsed)]
    choices = []
    for text, parsed in good:
        if _chooses(ours, parsed):
            found_here = _option_faults(ours, parsed)
            faults += found_here
            if not found_here:
                choices.append(text)
                chosen[parsed.key_or_group] = parsed.value() if not parsed.is_sweep_override() else None
    faults += entry_faults(ours, chosen)
    whole, problem = _try(ours, choices)
    faults += ours.found
    kept = []
    for text, parsed in keys:
        found_here = _key_faults(whole, groups(ours), parsed)
        faults += found_here
        kept += [] if found_here or whole is None else [text]
    if whole is not None:
        flowless = any(fault.key.startswith("flow=") for fault in faults)
        faults += [f for f in _beyond(ours, [*choices, *kept], kept, faults) if not (flowless and f.what == NO_FLOW)]
    elif problem is not None and not faults:
        error = problem
    return [fault for fault in _unique(faults) if not (several and fault.what == SEVERAL)] or told(error)


def refused(overrides: Sequence[str], *, owner: bool) -> list[Fault]:
    """Faults of overrides that Hydra would take without a word: those that reach into Hydra, and two flows."""
    from .loading import hydra_faults

    flows = [o for o in overrides if o.lstrip("+").startswith("flow=")]
    twice = Fault(f"two flows were chosen: {' and '.join(flows)}", "flow", LINE, "leave one of them")
    return hydra_faults(overrides, owner=owner) + ([twice] if len(flows) > 1 else [])


def _beyond(ours: Loader, overrides: list[str], keys: list[str], known: list[Fault]) -> list[Fault]:
    """What is wrong with the config that the good overrides give."""
    from .compose import composing
    from .load import assembled

    try:
        composed = composing(ours, overrides)
    except FAILURES as error:
        one_by_one = [fault for key in keys for fault in _alone(ours, overrides, keys, key)]
        return one_by_one or ([] if known else told(error))
    unread = any(found for folder in ours.folders() for found in folder.faults.values())
    try:
        assembled(composed)
    except ConfigError as error:
        # A file that could not be read counts as empty: what is missing because of that is no news.
        dropped = any(folder.dropped for folder in ours.folders())
        found = [f for f in error.faults if not (dropped and f.what.startswith(NOTHING))]
        return [f for f in found if not (unread and _follows(f))]
    return []


def _follows(fault: Fault) -> bool:
    return fault.what.startswith(("this is no component", "this field must be given", NO_FLOW, "${"))


def _alone(ours: Loader, overrides: list[str], keys: list[str], key: str) -> list[Fault]:
    """The fault of one override among others, which are taken as right."""
    others = [o for o in overrides if o not in keys]
    _, problem = _try(ours, [*others, key])
    return [] if problem is None else [dataclasses.replace(f, key=f.key or key, where=LINE) for f in told(problem)]


def parse(text: str) -> tuple[Any, Fault | None]:
    """An override taken apart, or the fault of one that cannot be read."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    try:
        return OverridesParser.create().parse_override(text), None
    except (HydraException, RecursionError, ValueError, AssertionError) as error:
        reason = (str(error).splitlines() or ["it nests too deep"])[0]
        mend = "write key=value; quote a value that holds commas, brackets, = or quotes: 'key=\"the text\"'"
        return None, Fault(f"this override cannot be read: {reason}", key=text[:200], where=LINE, mend=mend)


def _parsed(overrides: Sequence[str], several: bool) -> tuple[list[tuple[str, Any]], list[Fault]]:
    """The overrides that can be read, each as text (the first of `several` values) and parsed; the others' faults."""
    read = [(text, *parse(text)) for text in overrides]
    good = [(_one(text, parsed) if several else text, parsed) for text, parsed, _ in read if parsed is not None]
    return good, [fault for _, _, fault in read if fault is not None]


def _one(text: str, parsed: Any) -> str:
    """An override with the first of its values."""
    if not parsed.is_discrete_sweep():
        return text
    return f"{parsed.get_key_element()}={next(parsed.sweep_string_iterator())}"


def _chooses(ours: Loader, parsed: Any) -> bool:
    return bool(parsed.key_or_group) and bool(ours.repository.group_exists(parsed.key_or_group))


def _option_faults(ours: Loader, parsed: Any) -> list[Fault]:
    """A fault for every option of a group override that does not exist."""
    group = parsed.key_or_group
    if parsed.is_sweep_override():
        values = [getattr(v, "text", v) for v in parsed.sweep_iterator()] if parsed.is_discrete_sweep() else []
    elif parsed.is_delete() and parsed.value() in (None, ""):
        return []
    else:
        values = parsed.value()
    if (isinstance(values, str) and not values) or (values is None and group == "flow"):
        return [Fault(f"no {group} is named", f"{group}=", LINE, did_you_mean("", options(ours, group)))]
    if not isinstance(values, (str, list)):
        known = options(ours, group)
        off = f"to switch it off: {group}=none; " if "none" in known else ""
        return [Fault(f"{values!r} is no option of {group}", parsed.input_line, LINE, off + did_you_mean("", known))]
    return [
        option_fault(ours, group, name, where=LINE, key=f"{group}={name}")
        if isinstance(name, str)
        else Fault(
            f"{name!r} is no option of {group}", f"{group}={name}", LINE, did_you_mean("", options(ours, group))
        )
        for name in (values if isinstance(values, list) else [values])
        if not isinstance(name, str) or not ours.repository.config_exists(f"{group}/{name}")
    ]


def _try(ours: Loader, overrides: Sequence[str]) -> tuple[DictConfig | None, BaseException | None]:
    """The config of these overrides alone."""
    from hydra.types import RunMode

    try:
        return ours.load_configuration(ROOT, list(overrides), RunMode.RUN, from_shell=False), None
    except FAILURES as error:
        return None, error


def _key_faults(config: DictConfig | None, known_groups: Iterable[str], parsed: Any) -> list[Fault]:
    """A fault if the key of an override names nothing. A key that `+` would add is no exception: nobody reads it."""
    key = parsed.key_or_group
    if config is None:
        return []
    node: Any = config
    steps = [step for step in key.replace("[", ".").replace("]", "").split(".") if step]
    if not steps:
        return [Fault("there is no key before the =", parsed.input_line, LINE, "write key=value")]
    for depth, name in enumerate(steps):
        known = names(node)
        if name not in known:
            if depth and (parsed.is_add() or parsed.is_force_add()):
                return []  # fields that a class has and its file leaves out; the builder refuses the others
            choices = [n for n in known if n != "hydra"] + ([] if depth else list(known_groups))
            place = f"in {'.'.join(steps[:depth])!r}" if depth else "at the top of the config"
            several = "sweep.* says how several points are run: add -m"
            mend = several if key.startswith("sweep.") else did_you_mean(name, dict.fromkeys(choices))
            return [Fault(f"there is no key {name!r} {place}", key=key, where=LINE, mend=mend)]
        node = _inner(node, name)
    return []


def names(node: Any) -> list[str]:
    """The keys of a config node."""
    if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
        return [str(key) for key in node]
    if isinstance(node, ListConfig) and not node._is_none() and not node._is_missing():
        return [str(n) for n in range(len(node))]
    return []


def _inner(node: Any, name: str) -> Any:
    try:
        return OmegaConf.select(node, name)
    except OmegaConfBaseException:
        return None


def located(faults: Iterable[Fault], composed: Composed) -> list[Fault]:
    """The faults with the file and line, or the override, that set their keys. Each place is told once."""
    from .origin import place

    found: dict[tuple[str, str], Fault] = {}
    rest: list[Fault] = []
    for fault in faults:
        led = _overridden(fault, composed)
        if led is not None:
            found.setdefault((led.key, led.where), led)
        elif fault.where or not fault.key:
            rest.append(fault)
        else:
            rest.append(dataclasses.replace(fault, where=place(fault.key, composed)))
    told = {(fault.key, fault.where) for fault in rest}
    return [*rest, *(fault for at, fault in found.items() if at not in told)]


def _overridden(fault: Fault, composed: Composed) -> Fault | None:
    """The fault at the override that its value comes from, where it comes from there by interpolation."""
    from .origin import followed, origins

    field, colon, rest = fault.what.partition(": ")
    named = bool(colon) and field.isidentifier()
    start, what = (f"{fault.key}.{field}", rest) if named else (fault.key, fault.what)
    key, leads = followed(start, composed)
    for _ in range(_FURTHEST):
        if not leads:
            break
        key, leads = followed(leads, composed)
    set_by = origins(key, composed) if key != start else []
    if not set_by or not set_by[-1].where.startswith("override"):
        return None
    return dataclasses.replace(fault, what=what, key=key, where=set_by[-1].where)


def told(error: BaseException) -> list[Fault]:
    """An error of Hydra, OmegaConf or YAML as faults, without its advice to add dead keys."""
    if isinstance(error, ConfigError):
        return list(error.faults)
    mark = getattr(error, "problem_mark", None)
    where = f"{mark.name}:{mark.line + 1}" if mark is not None else ""
    cause = error
    while cause.__cause__ is not None and not str(cause).strip():
        cause = cause.__cause__
    several = _SEVERAL.search(str(cause))
    if several is not None:
        return [Fault(SEVERAL, several[1], LINE, "run them all: -m; as one list: key=[a,b]; as text: key='a,b'")]
    lines = [
        line
        for line in str(cause).splitlines()
        if line.strip() and not any(word in line for word in ("use +", "set_struct", "object_type=", "full_key:"))
    ]
    return [Fault(" ".join(line.strip() for line in lines[:3]) or type(cause).__name__, where=where)]


def _unique(faults: Iterable[Fault]) -> list[Fault]:
    """Each place and finding once."""
    return list({(f.what, f.where, f.key): f for f in faults}.values())
