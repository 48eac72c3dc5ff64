"""`explain KEY`: which file and line, or which override, set a key, and what it replaced."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_flows.core.errors import ConfigError, Fault, did_you_mean


def main(arguments: Sequence[str]) -> int:
    """Print the value of a key and everything that set it, the winner first."""
    from omegaconf import OmegaConf

    from llmops_flows.config.compose import compose
    from llmops_flows.config.origin import keys, origins

    named = [word for word in arguments if "=" not in word]
    if len(named) != 1:
        raise ConfigError(Fault("one key is explained at a time", mend="explain retriever.k flow=NAME"))
    key = named[0]
    composed = compose([word for word in arguments if "=" in word])
    known = list(keys(composed.plain))
    if key not in known:
        raise ConfigError(Fault(f"there is no key {key!r}", mend=did_you_mean(key, _near(key, known))))
    print(f"{key}: {OmegaConf.select(composed.config, key)}")
    found = origins(key, composed)
    for number, origin in enumerate(reversed(found)):
        print(f"  {'set by' if not number else 'replaced'}  {origin.where}  {origin.value}")
    if not found:
        print("  not set in a file of its own: it comes with a part of the config that refers to another key")
    return 0


def _near(key: str, known: Sequence[str]) -> list[str]:
    """The keys beside the one that was meant: not all of the config."""
    depth, above = key.count("."), key.rpartition(".")[0]
    beside = [k for k in known if k.count(".") == depth and k.rpartition(".")[0] == above]
    return beside or [k for k in known if "." not in k]
