"""Print the JSON Schema of a component's option file, for editors.

The class may be one of your own in the current folder.

Examples:
  llmops-flows schema llmops_flows.components.retriever.bm25.Bm25
  llmops-flows schema my_package.shout.Shout > conf/.schemas/shout.json
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace

from llmops_flows.config.builder import Builder
from llmops_flows.config.json_schema import component_schema


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("component", metavar="CLASS", help="full name of the component's class: package.module.Class")


def main(arguments: Namespace) -> int:
    target = arguments.component
    if "" not in sys.path:
        sys.path.insert(0, "")
    builder = Builder(trusted=(target.partition(".")[0],))
    cls = builder.component(target, "schema")
    builder.raise_problems()
    assert cls is not None
    print(json.dumps(component_schema(cls), indent=1, ensure_ascii=False))
    return 0
