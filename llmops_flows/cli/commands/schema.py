"""Print the JSON Schema of a component's option file or of a flow, for editors.

The class may be one of your own in the current folder. The schema of a flow
has the config groups of your project and of installed plugins.

Examples:
  llmops-flows schema llmops_flows.components.retriever.bm25.Bm25
  llmops-flows schema my_package.shout.Shout > conf/.schemas/shout.json
  llmops-flows schema flow > conf/.schemas/flow.json
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from llmops_flows.config.builder import Builder
from llmops_flows.config.files.groups import groups
from llmops_flows.config.json_schema import component_schema, flow_schema


def add_arguments(parser: ArgumentParser) -> None:
    name = "full name of the component's class: package.module.Class; or flow"
    parser.add_argument("component", metavar="CLASS", help=name)


def main(arguments: Namespace) -> int:
    target = arguments.component
    schema = flow_schema(groups()) if target == "flow" else _component(target)
    print(json.dumps(schema, indent=1, ensure_ascii=False))
    return 0


def _component(target: str) -> dict[str, Any]:
    if "" not in sys.path:
        sys.path.insert(0, "")
    builder = Builder(trusted=(target.partition(".")[0],))
    cls = builder.component(target, "schema")
    builder.raise_problems()
    assert cls is not None
    return component_schema(cls)
