"""The resolvers that a config may use: `${flow_data:FLOW,FILE}` and `${llmops_home:}`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import omegaconf
from omegaconf import OmegaConf

from ..files import paths

_OLD = omegaconf.__version__.startswith("2.3.")
"""Whether this is OmegaConf 2.3, in which `register_resolver` is an older, deprecated function."""


def register_resolvers() -> None:
    """Register the resolvers with OmegaConf, also in workers, which do not inherit them. May be called repeatedly."""
    add: Any = getattr(OmegaConf, "register_new_resolver" if _OLD else "register_resolver")
    if not OmegaConf.has_resolver("flow_data"):
        add("flow_data", _flow_data)
    if not OmegaConf.has_resolver("llmops_home"):
        add("llmops_home", lambda: str(paths.home()))


def _flow_data(flow: str, name: str) -> str:
    folder = paths.flow_dir(flow)
    return str((folder or Path("flows") / flow) / name)
