"""Show which file and line, or which override, set a key.

Prints the value, the place that set it, the places whose value was replaced,
and what an interpolation such as ${documents} refers to.

Examples:
  llmops-flows explain retriever.k flow=rag_support retriever.k=8
  llmops-flows explain stages.model.name flow=chat
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from llmops_flows.config.compose import compose
from llmops_flows.config.composition.explanation import explain
from llmops_flows.core.errors import ConfigError, Problem

from ..argument_parser import WHERE, add_overrides


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY", help="of the config, with dots: retriever.k")
    add_overrides(parser)


def main(arguments: Namespace) -> int:
    words = [arguments.key, *arguments.overrides]
    keys = [word for word in words if "=" not in word and not word.startswith("~")]
    if len(keys) != 1:
        problem = f"explain takes one key, got {len(keys)}"
        raise ConfigError(Problem(problem, where=WHERE, hint="llmops-flows explain retriever.k flow=NAME"))
    composed = compose([word for word in words if word is not keys[0]], owner=True)
    for line in explain(keys[0], composed):
        print(line)
    return 0
