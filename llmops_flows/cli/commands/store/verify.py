"""Check that stored data is undamaged; drop damaged data.

Reads every entry, value, index file and trace once. Damaged data is never
used as an answer, even without this check; --repair drops it, so that it is
computed again. The exit code is 1 if damaged data is found and not dropped.

Examples:
  llmops-flows store verify
  llmops-flows store verify --repair home=/data/llmops_flows
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from dataclasses import asdict

from llmops_flows.artifacts import inventory
from llmops_flows.config.composition.quoting import quote_overrides
from llmops_flows.config.storage import load_storage, maintain
from llmops_flows.report.text import store_text
from llmops_flows.tracing import verification

from ...argument_parser import add_json, add_overrides


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--repair", action="store_true", help="drop damaged data")
    add_overrides(parser)
    add_json(parser)


def main(arguments: Namespace) -> int:
    storage, repair = load_storage(quote_overrides(arguments.overrides)), arguments.repair
    answers = maintain(storage, lambda store: store.verify(repair=repair))
    indexes = inventory.list_artifacts(storage.home, check=True)
    traces, lost_traces = verification.verify(storage.traces.path, repair=repair) if storage.traces else (0, {})
    damaged = [index for index in indexes if index.problems]
    if repair:
        for index in damaged:
            inventory.remove_artifact(storage.home, index)
    entries, values, lost = (answers.entries, answers.values, answers.lost) if answers else (0, 0, {})
    items = store_text.damaged_items(lost, damaged, lost_traces)
    result = store_text.StoreCheck(storage.store.location, entries, values, len(indexes) - len(damaged), traces, items)
    if arguments.json:
        print(json.dumps({**asdict(result), "repaired": repair and bool(result.lost)}, indent=2, ensure_ascii=False))
    else:
        print(store_text.format_check(result, repaired=repair))
    return 1 if result.lost and not repair else 0
