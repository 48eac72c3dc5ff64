"""Runs Hydra's own application with our config loader, and raises ConfigError instead of printing tracebacks."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import NoReturn

import hydra
from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from llmops_flows.config import redacted_output
from llmops_flows.config.checks import diagnosis
from llmops_flows.config.composition import composed, override_parser
from llmops_flows.config.composition.quoting import quote_overrides
from llmops_flows.config.files.paths import ROOT
from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.text.suggestions import did_you_mean

from . import command_table, help
from .argument_parser import WHERE

NAME = "llmops_flows"
_REFUSED = {
    "config_path": "put your options into conf/ in the current folder, or name their folder: --config-dir",
    "config_name": "choose a flow with flow=NAME",
    "experimental_rerun": "it would load a pickle; repeat the overrides instead",
}
_MODES = ("run", "multirun", "cfg", "info", "shell_completion")


def run(words: Sequence[str]) -> int:
    """Run the command line of Hydra. Returns the exit code.

    Raises:
        ConfigError: with everything that is wrong with the overrides and the files.
    """
    redacted_output.redact_logs()
    options, parser = _parse(words)
    loader = composed.config_loader()
    overrides = override_parser.expand_globs(options.overrides)
    options.multirun = options.multirun or "hydra.mode=MULTIRUN" in overrides
    refused = [] if options.shell_completion else diagnosis.refused_overrides(overrides, owner=True)
    if refused:
        raise ConfigError(
            diagnosis.diagnose(loader, overrides, ConfigError(refused), owner=True, several=options.multirun)
        )
    app = Hydra(NAME, loader)
    GlobalHydra.instance().initialize(app)
    try:
        result = _dispatch(app, options, overrides, parser)
    except diagnosis.FAILURES as error:
        if not isinstance(error, ConfigError) and not _is_composition_error(error):
            raise
        from llmops_flows.sweeps.grid.sweep_settings import without_sweep_settings

        config = without_sweep_settings(overrides) if options.multirun else overrides
        loader = composed.config_loader()
        problems = diagnosis.diagnose(loader, config, error, owner=True, several=options.multirun)
        raise ConfigError(problems) from None
    finally:
        GlobalHydra.instance().clear()
    if isinstance(result, Exception):
        raise result
    return result


def _parse(words: Sequence[str]) -> tuple[Namespace, ArgumentParser]:
    parser = get_args_parser()
    parser.error = _refuse_option  # type: ignore[method-assign]
    options = parser.parse_intermixed_args(quote_overrides(words))
    _refuse_combinations(options)
    if hydra.__version__.startswith("1.3."):
        version.setbase("1.3")  # later versions have one behavior only
    return options, parser


def _dispatch(app: Hydra, options: Namespace, overrides: list[str], parser: ArgumentParser) -> int | Exception:
    """The exit code; or the error of a run, which is not an error of composing the config."""
    if options.hydra_help:
        app.hydra_help(config_name=ROOT, args_parser=parser, args=options)
    elif options.shell_completion:
        _complete(app, overrides)
    elif options.cfg:
        app.show_cfg(ROOT, overrides, options.cfg, options.package, options.resolve)
    elif options.info:
        mode = RunMode.MULTIRUN if options.multirun else RunMode.RUN
        app.show_info(options.info, config_name=ROOT, overrides=overrides, run_mode=mode)
    elif options.multirun:
        return _multirun(app, overrides)
    else:
        from .run import SingleRun

        single = SingleRun()
        app.run(config_name=ROOT, task_function=single, overrides=overrides)
        return single.error or int(single.failed)
    return 0


def _multirun(app: Hydra, overrides: list[str]) -> int | Exception:
    from llmops_flows.sweeps import hydra_multirun

    if hydra_multirun.uses_hydra_sweeper(app, overrides):
        from .run import run_job

        return hydra_multirun.run_hydra_sweeper(app, overrides, run_job)
    try:
        return hydra_multirun.run(app, overrides)
    except ConfigError as error:
        return error


def _complete(app: Hydra, overrides: list[str]) -> None:
    """Print Hydra's completions, also after the name of a command. An invalid line has none."""
    words = os.environ.get("COMP_LINE", "").split(" ")
    if len(words) > 2 and command_table.find(words[1]) is not None:
        os.environ["COMP_LINE"] = " ".join([words[0], *words[2:]])
    try:
        app.shell_completion(config_name=ROOT, overrides=overrides)
    except diagnosis.FAILURES:
        if not any(word.startswith("query=") for word in overrides):
            raise


def _refuse_option(message: str) -> NoReturn:
    """Replaces argparse's `error`, which would print the usage of `__main__.py`."""
    unknown = message.removeprefix("unrecognized arguments: ")
    if unknown == message:
        raise ConfigError(Problem(message, where=WHERE, hint="llmops-flows --help"))
    names = help.option_names()
    problems = [
        Problem(f"unknown option {word!r}", where=WHERE, hint=did_you_mean(word, names))
        for word in (each.partition("=")[0] for each in unknown.split() if each.startswith("-"))
    ]
    raise ConfigError(problems or Problem(f"unexpected arguments: {unknown}", where=WHERE))


def _refuse_combinations(options: Namespace) -> None:
    problems = [
        Problem(f"{_option(name)} is not supported", where=WHERE, hint=hint)
        for name, hint in _REFUSED.items()
        if getattr(options, name, None) is not None
    ]
    modes = [_option(name) for name in _MODES if getattr(options, name)]
    if len(modes) > 1:
        problems.append(Problem(f"only one of {', '.join(modes)} at a time", where=WHERE))
    if options.resolve and not options.cfg:
        problems.append(Problem("--resolve needs --cfg", where=WHERE, hint="--cfg job --resolve"))
    if problems:
        raise ConfigError(problems)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _is_composition_error(error: BaseException) -> bool:
    """Whether an error, which may be of a general type, was raised while Hydra composed the config."""
    if isinstance(error, (HydraException, OmegaConfBaseException, YAMLError)):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    file = trace.tb_frame.f_code.co_filename if trace is not None else ""
    return "hydra" in file or "omegaconf" in file
