"""`compose`: a config from overrides, or every fault of the overrides and files at once."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_flows.core.errors import ConfigError

from .composition.composed import Composed, compose_with, config_loader


def compose(overrides: Sequence[str] = (), *, owner: bool = False, typed: bool = True) -> Composed:
    """The config that these overrides give.

    Args:
        overrides: as typed; free text (`question=`) needs no quoting.
        owner: they come from the command line itself, which alone may set `hydra.*`.
        typed: False where they are in Hydra's grammar already, their free text quoted.

    Raises:
        ConfigError: with every fault of the overrides and files, not only the first.
    """
    from .checks.diagnosis import FAILURES, diagnose, refused_overrides
    from .composition.quoting import quote_overrides

    listed = quote_overrides(overrides) if typed else list(overrides)
    ours = config_loader()
    try:
        problems = refused_overrides(listed, owner=owner)
        if problems:
            raise ConfigError(problems)
        return compose_with(ours, listed)
    except FAILURES as error:
        raise ConfigError(diagnose(ours, listed, error, owner=owner)) from None
