"""Report everything that is wrong with a config, before any model call.

Composes the config and builds every component of it. Loads no model and no
index, makes no call, and costs nothing. Without a problem it lists the stages:
name, slots read -> slot written, class.

Examples:
  llmops-flows check flow=rag_support
  llmops-flows check flow=rag_support model=openai retriever.k=8
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from llmops_flows.config.compose import compose
from llmops_flows.config.composition.override_parser import expand_globs
from llmops_flows.config.composition.unused_overrides import unused_override_warnings
from llmops_flows.config.experiment import build_experiment
from llmops_flows.config.files.groups import shadowed_options
from llmops_flows.config.files.yaml_file import display_path
from llmops_flows.config.run_budget import budget_warnings

from ..argument_parser import add_overrides
from ..terminal import wrap


def add_arguments(parser: ArgumentParser) -> None:
    add_overrides(parser)


def main(arguments: Namespace) -> int:
    composed = compose(expand_globs(arguments.overrides), owner=True)
    experiment = build_experiment(composed)
    settings = experiment.settings
    if settings.question is None and settings.questions.path is not None:
        settings.questions.rows(settings.inputs)
    print(f"{experiment.flow.name}: no problems found")
    for name, stage in experiment.flow.leaves():
        print(f"  {name:<14} {', '.join(stage.reads)} -> {stage.slot}   {type(stage).__name__}")
    if experiment.evaluators:
        print(wrap(f"  {'scores':<14} {', '.join(experiment.evaluators)}", sys.stdout))
    for warning in (*unused_override_warnings(composed), *budget_warnings(experiment)):
        print(f"  {warning}")
    for name, project_file, _ in shadowed_options():
        print(f"  {name:<14} {display_path(project_file)} replaces the shipped file")
    return 0
