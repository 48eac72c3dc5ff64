"""Hydra's own application: run, multirun, --cfg, --info, completion; our loader, our errors instead of tracebacks."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Sequence
from typing import Any, NoReturn

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.text.suggestions import did_you_mean

NAME = "llmops_flows"
LINE = "command line"
_NOT_HERE = {
    "config_path": "options of your own go into conf/ beside your work, or into a folder named by --config-dir",
    "config_name": "the flow is chosen by flow=NAME",
    "experimental_rerun": "it would load a pickle; name the config again instead",
}


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments ask Hydra for. Returns the worst exit code of the jobs that it ran.

    Raises:
        ConfigError: with everything that is wrong with the overrides and the files.
    """
    from hydra._internal.hydra import Hydra
    from hydra.core.global_hydra import GlobalHydra

    from llmops_flows.config import redacted_output
    from llmops_flows.config.checks import diagnosis
    from llmops_flows.config.composition import composed, override_parser

    redacted_output.redact_logs()
    wanted, parser = _parsed(arguments)
    ours = composed.config_loader()
    overrides = override_parser.expand_globs(wanted.overrides)
    wanted.multirun = wanted.multirun or "hydra.mode=MULTIRUN" in overrides
    refused = [] if wanted.shell_completion else diagnosis.refused_overrides(overrides, owner=True)
    if refused:
        raise ConfigError(
            diagnosis.diagnose(ours, overrides, ConfigError(refused), owner=True, several=wanted.multirun)
        )
    app = Hydra(NAME, ours)
    GlobalHydra.instance().initialize(app)
    try:
        ended = _do(app, wanted, overrides, parser)
    except diagnosis.FAILURES as error:
        if not isinstance(error, ConfigError) and not _of_hydra(error):
            raise
        from llmops_flows.sweeps.grid.sweep_settings import without_sweep_settings

        config = without_sweep_settings(overrides) if wanted.multirun else overrides
        told = diagnosis.diagnose(composed.config_loader(), config, error, owner=True, several=wanted.multirun)
        raise ConfigError(told) from None
    finally:
        GlobalHydra.instance().clear()
    if isinstance(ended, Exception):
        raise ended
    return ended


def _parsed(arguments: Sequence[str]) -> tuple[Namespace, Any]:
    """What was asked for, and the parser that read it. Raises ConfigError."""
    import hydra
    from hydra import version
    from hydra._internal.utils import get_args_parser

    from llmops_flows.config.composition.quoting import quote_overrides

    parser = get_args_parser()
    parser.error = _refuse_flag  # type: ignore[method-assign]
    wanted = parser.parse_intermixed_args(quote_overrides(arguments))
    _refuse(wanted)
    if hydra.__version__.startswith("1.3."):
        version.setbase("1.3")  # later versions have one behaviour only
    return wanted, parser


def _do(app: Any, wanted: Namespace, overrides: list[str], parser: Any) -> int | Exception:
    """The exit code, or an error of ours, which has nothing to do with how Hydra composes."""
    from hydra.types import RunMode

    from llmops_flows.config.files.paths import ROOT as root

    from .run import SingleRun, run_job

    if wanted.hydra_help:
        app.hydra_help(config_name=root, args_parser=parser, args=wanted)
    elif wanted.shell_completion:
        _complete(app, overrides)
    elif wanted.cfg:
        app.show_cfg(root, overrides, wanted.cfg, wanted.package, wanted.resolve)
    elif wanted.info:
        mode = RunMode.MULTIRUN if wanted.multirun else RunMode.RUN
        app.show_info(wanted.info, config_name=root, overrides=overrides, run_mode=mode)
    elif wanted.multirun:
        from llmops_flows.sweeps import hydra_multirun

        if hydra_multirun.uses_hydra_sweeper(app, overrides):
            return hydra_multirun.run_hydra_sweeper(app, overrides, run_job)
        try:
            return hydra_multirun.run(app, overrides)
        except ConfigError as error:
            return error
    else:
        alone = SingleRun()
        app.run(config_name=root, task_function=alone, overrides=overrides)
        return alone.error or int(alone.failed)
    return 0


def _complete(app: Any, overrides: list[str]) -> None:
    """Hydra's completion, also after a command. A line with mistakes has no completion."""
    from llmops_flows.config.checks.diagnosis import FAILURES
    from llmops_flows.config.files import paths

    from . import command_table

    words = os.environ.get("COMP_LINE", "").split(" ")
    if len(words) > 2 and command_table.find(words[1]) is not None:
        os.environ["COMP_LINE"] = " ".join([words[0], *words[2:]])
    try:
        app.shell_completion(config_name=paths.ROOT, overrides=overrides)
    except FAILURES:
        if not any(word.startswith("query=") for word in overrides):
            raise


def _refuse_flag(message: str) -> NoReturn:
    """An unknown option, or one without its value. argparse would print the usage of `__main__.py`."""
    from .help import option_names

    known = option_names()
    unknown = message.removeprefix("unrecognized arguments: ")
    if unknown == message:
        raise ConfigError(Problem(message, where=LINE, hint="llmops_flows --help"))
    words = [word.partition("=")[0] for word in unknown.split() if word.startswith("-")]
    problems = [Problem(f"unknown option {word!r}", where=LINE, hint=did_you_mean(word, known)) for word in words]
    raise ConfigError(problems or Problem(f"unexpected arguments: {unknown}", where=LINE))


def _refuse(wanted: Namespace) -> None:
    problems = [
        Problem(f"--{name.replace('_', '-')} is not for this app", where=LINE, hint=hint)
        for name, hint in _NOT_HERE.items()
        if getattr(wanted, name, None) is not None
    ]
    asked = [flag for flag in ("run", "multirun", "cfg", "info", "shell_completion") if getattr(wanted, flag)]
    if len(asked) > 1:
        flags = ", ".join(f"--{flag.replace('_', '-')}" for flag in asked)
        problems.append(Problem(f"only one of {flags} at a time", where=LINE))
    if wanted.resolve and not wanted.cfg:
        problems.append(Problem("--resolve goes with --cfg", where=LINE, hint="--cfg job --resolve"))
    if problems:
        raise ConfigError(problems)


def _of_hydra(error: BaseException) -> bool:
    """Whether an error of a general kind comes from composing rather than from code of ours."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    if isinstance(error, (HydraException, OmegaConfBaseException, YAMLError)):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    file = trace.tb_frame.f_code.co_filename if trace is not None else ""
    return "hydra" in file or "omegaconf" in file
