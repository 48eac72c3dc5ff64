"""`schema CLASS`: the JSON Schema of a component's option file, by which editors complete and check it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from llmops_flows.core.errors import ConfigError, Problem


def main(arguments: Sequence[str]) -> int:
    """Print the schema of the component class that is named; your own from the current folder too."""
    from llmops_flows.config.builder import Builder
    from llmops_flows.config.json_schema import component_schema

    if len(arguments) != 1:
        raise ConfigError(Problem("one component is described at a time", hint="schema my_package.module.Class"))
    [target] = arguments
    if "" not in sys.path:
        sys.path.insert(0, "")
    builder = Builder(trusted=(target.partition(".")[0],))
    cls = builder.component(target, "schema")
    builder.raise_problems()
    assert cls is not None
    print(json.dumps(component_schema(cls), indent=1, ensure_ascii=False))
    return 0
