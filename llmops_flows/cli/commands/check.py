"""`check`: everything wrong with a config, before anything is loaded or paid for."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Compose and build the config. Prints what the flow is made of; raises ConfigError with every fault."""
    from llmops_flows.config.budget import budget_warnings
    from llmops_flows.config.compose import compose
    from llmops_flows.config.composition.override_parser import expand_globs
    from llmops_flows.config.composition.unused_overrides import unused_override_warnings
    from llmops_flows.config.experiment import build_experiment
    from llmops_flows.config.files.groups import shadowed_options
    from llmops_flows.config.files.yaml_file import display_path

    from ..argv import flagless

    composed = compose(expand_globs(flagless("check", arguments)), owner=True)
    experiment = build_experiment(composed)
    if experiment.settings.question is None and experiment.settings.questions.path is not None:
        experiment.settings.questions.rows(experiment.settings.inputs)
    print(f"{experiment.flow.name}: nothing wrong")
    for name, stage in experiment.flow.leaves():
        print(f"  {name:<14} {', '.join(stage.reads)} -> {stage.slot}   {type(stage).__name__}")
    if experiment.evaluators:
        print(f"  scores         {', '.join(experiment.evaluators)}")
    for told in (*unused_override_warnings(composed), *budget_warnings(experiment)):
        print(f"  {told}")
    for name, own, _ in shadowed_options():
        print(f"  {name:<14} is taken from {display_path(own)}, not from what is shipped under that name")
    return 0
