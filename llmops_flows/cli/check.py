"""`check`: everything wrong with a config, before anything is loaded or paid for."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Compose and build the config. Prints what the flow is made of; raises ConfigError with every fault."""
    from llmops_flows.config.load import load_experiment

    experiment = load_experiment(*arguments)
    print(f"{experiment.flow.name}: nothing wrong")
    for name, stage in experiment.flow.leaves():
        print(f"  {name:<14} {', '.join(stage.reads)} -> {stage.slot}   {type(stage).__name__}")
    if experiment.evaluators:
        print(f"  scores         {', '.join(experiment.evaluators)}")
    return 0
