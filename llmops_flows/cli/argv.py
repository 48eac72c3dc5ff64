"""The words behind a verb of the report: flags, `--name VALUE` or `--name=VALUE`, and the rest."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.text.suggestions import did_you_mean


def parse(
    arguments: Sequence[str], flags: Sequence[str] = (), options: Sequence[str] = ()
) -> tuple[list[str], set[str], dict[str, str]]:
    """The bare words, the flags that were given, and option to value.

    Raises:
        ConfigError: an unknown flag, or an option without its value.
    """
    bare: list[str] = []
    given: set[str] = set()
    values: dict[str, str] = {}
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            bare.append(word)
        elif name in flags and not equals:
            given.add(name)
        elif name in options:
            found = value if equals else next(words, None)
            if not found:
                raise ConfigError(Problem("a value is missing", key=name, where="command line"))
            values[name] = found
        else:
            hint = did_you_mean(name, [*flags, *options])
            raise ConfigError(Problem(f"there is no option {word!r}", where="command line", hint=hint))
    return bare, given, values


def flagless(verb: str, arguments: Sequence[str]) -> Sequence[str]:
    """The overrides for a verb that looks at one config. Raises ConfigError: there is a flag among them."""
    for word in arguments:
        if word.startswith("-"):
            hint = "it looks at one config; every point of a sweep: plan -m" if word in ("-m", "--multirun") else ""
            raise ConfigError(Problem(f"{verb} takes no flags", key=word, where="command line", hint=hint))
    return arguments
