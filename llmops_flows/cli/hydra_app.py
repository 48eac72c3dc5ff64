"""Hydra's own application: run, multirun, --cfg, --info, completion; our loader, our errors instead of tracebacks."""

from __future__ import annotations

import os
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
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
        config = _without_rules(overrides) if wanted.multirun else overrides
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

    if wanted.hydra_help:
        app.hydra_help(config_name=root, args_parser=parser, args=wanted)
    elif wanted.shell_completion:
        _complete(app, overrides)
    elif wanted.cfg:
        app.show_cfg(root, overrides, wanted.cfg, wanted.package, wanted.resolve)
    elif wanted.info:
        mode = RunMode.MULTIRUN if wanted.multirun else RunMode.RUN
        app.show_info(wanted.info, config_name=root, overrides=overrides, run_mode=mode)
    elif wanted.multirun and _sweeper_of_hydra(app, root, overrides):
        return _multirun(app, root, overrides)
    elif wanted.multirun:
        try:
            return _sweep(app, root, overrides)
        except ConfigError as error:
            return error
    else:
        from .commands.run import SingleRun

        alone = SingleRun()
        app.run(config_name=root, task_function=alone, overrides=overrides)
        return alone.error or int(alone.failed)
    return 0


def _multirun(app: Any, root: str, overrides: list[str]) -> int:
    """A sweeper of Hydra's, for which each point is a job; a budget holds for all jobs together."""
    from llmops_flows.config.saved_config import redacted_saves
    from llmops_flows.engine.plan import PlanCheck
    from llmops_flows.sweeps import sweep
    from llmops_flows.sweeps.budget import sweep_budget
    from llmops_flows.sweeps.grid.points import cells
    from llmops_flows.sweeps.workers.job_results import heard

    from .commands.run import HydraTask

    begun = time.perf_counter()
    try:
        points = cells(_own(overrides))
    except ConfigError:  # not a sweep in our grammar; a job with a budget refuses to begin without an account
        points = []
    with redacted_saves(), heard() as found, sweep_budget() as budget:
        budget.of(points)
        app.multirun(config_name=root, task_function=HydraTask(budget.account), overrides=overrides)
    sweep.show(found.cells, found.folder, found.outcomes, 0, time.perf_counter() - begun, PlanCheck())
    return sweep.code(found.outcomes)


def _own(overrides: Sequence[str]) -> list[str]:
    """The overrides of our config, Hydra's left out."""
    return [word for word in overrides if not word.lstrip("+~").startswith(("hydra.", "hydra/"))]


def _sweeper_of_hydra(app: Any, root: str, overrides: Sequence[str]) -> bool:
    """Whether a sweeper of Hydra's was asked for: then Hydra runs each point as a job of its own."""
    named = [word for word in overrides if word.lstrip("+").startswith("hydra/sweeper=")]
    return bool(named) and not _searches(_whole(app, root, overrides))


def _searches(config: Any) -> bool:
    """Whether a composed config asks for a search: its sweeper is settings, and no class of Hydra's."""
    return "_target_" not in config.hydra.sweeper


def _whole(app: Any, root: str, overrides: Sequence[str]) -> Any:
    """The config of a sweep as a whole, Hydra's part included."""
    from hydra.types import RunMode

    ours = _without_rules(overrides)
    return app.compose_config(config_name=root, overrides=ours, run_mode=RunMode.MULTIRUN, with_log_configuration=False)


def _without_rules(overrides: Sequence[str]) -> list[str]:
    """The overrides of the config: those of the sweep itself are no part of it."""
    from llmops_flows.sweeps.grid.settings import SWEEP

    return [word for word in overrides if not word.lstrip("+").startswith(SWEEP)]


def _sweep(app: Any, root: str, overrides: list[str]) -> int:
    """All points side by side in this process; or those that a search proposes."""
    from llmops_flows.config import saved_config
    from llmops_flows.sweeps.budget import sweep_budget
    from llmops_flows.sweeps.grid.points import cells
    from llmops_flows.sweeps.grid.settings import rules
    from llmops_flows.sweeps.resume import Sweep, taken
    from llmops_flows.sweeps.sweep import run

    config = _whole(app, root, overrides)
    ours = _own(overrides)
    folder = Path(str(config.hydra.sweep.dir))
    if _searches(config):
        return _search(app, config, ours, folder)
    command, how = rules(ours)
    named = any(word.lstrip("+").startswith("hydra.sweep.dir=") for word in overrides)
    command = [word for word in command if not word.lstrip("+").startswith("budget.")]  # another one decides nothing
    with sweep_budget() as budget:
        sweep = Sweep(budget.of(cells(ours)), folder, how, command, named)
        with taken(sweep) as found:
            saved_config.write_sweep(found.folder, config)
            return run(sweep, found, _launch(app, config, how))


def _launch(app: Any, config: Any, rules: Any) -> Any:
    """What runs points where the launcher takes them that was asked for; None: they run here."""
    if config.hydra.runtime.choices["hydra/launcher"] == "basic":
        return None
    from llmops_flows.sweeps.launcher_jobs import Jobs

    return Jobs(app, config, rules)


def _search(app: Any, config: Any, overrides: list[str], folder: Path) -> int:
    """The points that Optuna proposes: in this process, or where a launcher of Hydra's takes them."""
    from omegaconf import OmegaConf

    from llmops_flows.config import saved_config
    from llmops_flows.report.search_results import refuse_other_study
    from llmops_flows.sweeps.budget import sweep_budget
    from llmops_flows.sweeps.search.loop import run
    from llmops_flows.sweeps.search.problem import search
    from llmops_flows.sweeps.sweep import execute

    settings: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
    found = search(overrides, settings)
    refuse_other_study(folder, found.name)
    saved_config.write_sweep(folder, config)
    launch = _launch(app, config, found.rules)
    with sweep_budget() as budget:
        return run(found, folder, lambda cells, place: execute(budget.of(cells), place, found.rules, launch))


def _complete(app: Any, overrides: list[str]) -> None:
    """Hydra's completion, behind our verbs too. A line that has mistakes completes to nothing."""
    from llmops_flows.config.checks.diagnosis import FAILURES
    from llmops_flows.config.files import paths

    from .command_table import VERBS

    words = os.environ.get("COMP_LINE", "").split(" ")
    if len(words) > 2 and words[1] in VERBS:
        os.environ["COMP_LINE"] = " ".join([words[0], *words[2:]])
    try:
        app.shell_completion(config_name=paths.ROOT, overrides=overrides)
    except FAILURES:
        if not any(word.startswith("query=") for word in overrides):
            raise


def _refuse_flag(message: str) -> NoReturn:
    """A flag that is not there, or that lacks its value. argparse would tell it of `__main__.py`."""
    from .help import flags

    unknown = message.removeprefix("unrecognized arguments: ")
    if unknown == message:
        raise ConfigError(Problem(message, where=LINE, hint="llmops_flows --help"))
    words = [word.partition("=")[0] for word in unknown.split() if word.startswith("-")]
    problems = [Problem(f"there is no flag {word!r}", where=LINE, hint=did_you_mean(word, flags())) for word in words]
    raise ConfigError(problems or Problem(f"this cannot be read: {unknown}", where=LINE))


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
