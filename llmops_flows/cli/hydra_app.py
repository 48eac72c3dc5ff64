"""Hydra's own application: overrides, --help, --cfg, multirun, output folders; our errors instead of tracebacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from llmops_flows.core.errors import ConfigError


def run(arguments: Sequence[str]) -> int:
    """Hand the arguments to Hydra. Returns the worst exit code of the jobs that it ran.

    Raises:
        ConfigError: with everything that is wrong with the overrides.
    """
    import hydra
    from hydra.core.plugins import Plugins
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from llmops_flows.config import compose, paths, text

    from . import run as job

    compose.register()
    Plugins.instance().register(_plugin())
    sys.argv = ["llmops_flows", *compose.expanded(text.quoted(arguments))]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    job.codes.clear()
    job.errors.clear()
    app: Any = hydra.main(version_base="1.3", config_path=str(paths.data_dir("conf")), config_name="config")(job.task)
    try:
        app()
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError, AssertionError) as error:
        if isinstance(error, (ValueError, AssertionError)) and "hydra" not in _origin(error):
            raise
        raise _all_faults(arguments, error) from None
    if job.errors:
        raise job.errors[0]
    return max(job.codes, default=0)


def _all_faults(arguments: Sequence[str], error: BaseException) -> ConfigError:
    from llmops_flows.config.compose import loader
    from llmops_flows.config.faults import diagnose
    from llmops_flows.config.text import quoted

    overrides = [word for word in quoted(arguments) if not word.startswith("-")]
    return ConfigError(diagnose(loader(), overrides, error))


def _origin(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename if trace is not None else ""


def _plugin() -> Any:
    """Puts the user's project before the shipped configs on Hydra's search path, and plugins behind them."""
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    from llmops_flows.config import compose

    class Project(SearchPathPlugin):
        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            shipped = False
            for provider, path in compose.search_path():
                place = path if "://" in path else f"file://{path}"
                if provider == "llmops_flows":
                    shipped = True
                elif shipped:
                    search_path.append(provider, place)
                else:
                    search_path.prepend(provider, place)

    return Project
