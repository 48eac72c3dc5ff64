"""`check`: everything wrong with a config, before anything is loaded or paid for."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Compose and build the config. Prints what the flow is made of; raises ConfigError with every fault."""
    from llmops_flows.config.assemble import assembled
    from llmops_flows.config.budget import notes
    from llmops_flows.config.compose import compose
    from llmops_flows.config.composition.composed import expanded
    from llmops_flows.config.composition.unused_overrides import idle
    from llmops_flows.config.files.groups import shadows
    from llmops_flows.config.files.yaml_file import shown

    from ..argv import flagless

    composed = compose(expanded(flagless("check", arguments)), owner=True)
    experiment = assembled(composed)
    if experiment.settings.question is None and experiment.settings.questions.path is not None:
        experiment.settings.questions.rows(experiment.settings.inputs)
    print(f"{experiment.flow.name}: nothing wrong")
    for name, stage in experiment.flow.leaves():
        print(f"  {name:<14} {', '.join(stage.reads)} -> {stage.slot}   {type(stage).__name__}")
    if experiment.evaluators:
        print(f"  scores         {', '.join(experiment.evaluators)}")
    for told in (*idle(composed), *notes(experiment)):
        print(f"  {told}")
    for name, own, _ in shadows():
        print(f"  {name:<14} is taken from {shown(own)}, not from what is shipped under that name")
    return 0
