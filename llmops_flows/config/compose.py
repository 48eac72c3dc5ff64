"""Compose a config from overrides, or report every problem of the overrides and files."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_flows.core.errors import ConfigError

from .composition.composed import Composed, compose_with, config_loader


def compose(overrides: Sequence[str] = (), *, owner: bool = False, typed: bool = True) -> Composed:
    """Compose the config that overrides describe.

    Args:
        overrides: as typed; free text (`question=`) needs no quoting.
        owner: the owner of the process typed them; only then may they set `hydra.*`.
        typed: False if their free text is already quoted for Hydra's grammar.

    Raises:
        ConfigError: with every problem of the overrides and files.
    """
    from .checks.diagnosis import FAILURES, diagnose, refused_overrides
    from .composition.quoting import quote_overrides

    quoted = quote_overrides(overrides) if typed else list(overrides)
    loader = config_loader()
    try:
        problems = refused_overrides(quoted, owner=owner)
        if problems:
            raise ConfigError(problems)
        return compose_with(loader, quoted)
    except FAILURES as error:
        raise ConfigError(diagnose(loader, quoted, error, owner=owner)) from None
