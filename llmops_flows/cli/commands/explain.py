"""`explain KEY`: which file and line, or which override, set a key, what it replaced, and where its value leads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.text.suggestions import did_you_mean

if TYPE_CHECKING:
    from llmops_flows.config.composition.composed import Composed

_FURTHEST = 10


def main(arguments: Sequence[str]) -> int:
    """Print the value of a key and everything that set it, the winner first."""
    from llmops_flows.config.compose import compose
    from llmops_flows.config.composition.provenance import config_keys, follow, origins

    from ..argv import flagless

    arguments = flagless("explain", arguments)
    named = [word for word in arguments if "=" not in word and not word.startswith("~")]
    if len(named) != 1:
        raise ConfigError(Problem("one key is explained at a time", hint="explain retriever.k flow=NAME"))
    key = named[0]
    composed = compose([word for word in arguments if word is not key], owner=True)
    plain = composed.loose[0]
    known = list(dict.fromkeys([*config_keys(plain), *config_keys(composed.raw)]))
    if key not in known and not origins(key, composed):
        raise ConfigError(Problem(f"there is no key {key!r}", hint=did_you_mean(key, _near(key, known))))
    print(f"{key}: {_value(plain, key)}")
    place, leads = follow(key, composed)
    if place != key:
        print(f"  it stands in {place}")
    for line in _told(place, composed):
        print(f"  {line}")
    for step in range(_FURTHEST):
        if not leads:
            break
        print(f"  {'  ' * step}its value is that of {leads}")
        place, leads = follow(leads, composed)
        for line in _told(place, composed):
            print(f"  {'  ' * (step + 1)}{line}")
    return 0


def _told(key: str, composed: Composed) -> Iterator[str]:
    """A line for every place that set a key, the winner first."""
    from llmops_flows.config.composition.provenance import origins

    found = origins(key, composed)
    for number, origin in enumerate(reversed(found)):
        chosen = f"   (the file was chosen by {origin.chosen})" if origin.chosen else ""
        yield f"{'replaced' if number else 'set by  '}  {origin.where}  {origin.value}{chosen}"
    if not found:
        yield "not set in any one place: it is made of the keys below it"


def _value(plain: Any, key: str) -> Any:
    """The value of a key; a group of keys as YAML."""
    import yaml

    for step in key.split("."):
        if isinstance(plain, dict) and step in plain:
            plain = plain[step]
        elif isinstance(plain, list) and step.isdigit() and int(step) < len(plain):
            plain = plain[int(step)]
        else:
            return "(not there)"
    if isinstance(plain, (dict, list)) and plain:
        return "\n" + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, indent=2).rstrip()
    return plain


def _near(key: str, known: Sequence[str]) -> list[str]:
    """The keys beside the one that was meant: not all of the config."""
    depth, above = key.count("."), key.rpartition(".")[0]
    beside = [k for k in known if k.count(".") == depth and k.rpartition(".")[0] == above]
    return beside or [k for k in known if "." not in k]
