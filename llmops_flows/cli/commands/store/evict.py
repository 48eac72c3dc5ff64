"""Remove stored answers by size, age, stage or tenant.

Conditions:
  max_size=SIZE   remove the least recently used values beyond this total
                  size: 2GB (2,000,000,000 bytes), 500MB, 1.5GiB
  older_than=AGE  remove what was not used for this long: 90d, 12h, 2w;
                  units are s, m (minutes), h, d, w, y
  stage=NAME      remove only answers of this stage
  tenant=NAME     remove only answers of this tenant

Without a size or an age, everything of the stage or tenant is removed.

Examples:
  llmops-flows store evict max_size=2GB older_than=90d
  llmops-flows store evict stage=retrieve --dry-run
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict

from llmops_flows.config.composition.quoting import quote_overrides
from llmops_flows.config.experiment import RunSettings
from llmops_flows.config.files.groups import groups
from llmops_flows.config.storage import load_storage, maintain
from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.store import EvictionReport, MaintainedStore, StoreStats
from llmops_flows.report.text import amounts, store_text
from llmops_flows.text.suggestions import did_you_mean

from ...argument_parser import WHERE, add_json

CONDITIONS = ("max_size", "older_than", "stage", "tenant")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", default=(), metavar="key=value", help="conditions, and overrides that choose the store"
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be removed, and remove nothing")
    add_json(parser)


def main(arguments: Namespace) -> int:
    _refuse_unknown(arguments.words)
    pairs = {word.partition("=")[0]: word.partition("=")[2] for word in arguments.words}
    conditions = {name: value for name, value in pairs.items() if name in CONDITIONS}
    if not conditions:
        raise ConfigError(Problem("no condition is given", where=WHERE, hint=f"give {' or '.join(CONDITIONS)}"))
    size = amounts.parse_size(conditions["max_size"], "max_size") if "max_size" in conditions else None
    age = amounts.parse_age(conditions["older_than"], "older_than") if "older_than" in conditions else None
    stage, tenant = conditions.get("stage"), conditions.get("tenant")
    storage = load_storage(
        quote_overrides([word for word in arguments.words if word.partition("=")[0] not in CONDITIONS])
    )

    def evict(store: MaintainedStore) -> EvictionReport:
        if stage is not None or tenant is not None:
            _check_names(store.stats(), stage, tenant)
        return store.evict(max_bytes=size, older_than=age, stage=stage, tenant=tenant, dry=arguments.dry_run)

    evicted = maintain(storage, evict) or EvictionReport(0, 0, 0, {})
    if arguments.json:
        data = {"store": storage.store.location, **asdict(evicted), "dry_run": arguments.dry_run}
        print(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        print(store_text.format_evicted(evicted, dry=arguments.dry_run))
    return 0


def _refuse_unknown(words: Sequence[str]) -> None:
    """Report a misspelled condition as such, not as an unknown key of the config."""
    known = [*CONDITIONS, *RunSettings.model_fields, *groups(), "hydra"]
    for word in words:
        name, equals, _ = word.partition("=")
        if not equals or (name.isidentifier() and name not in known):
            hint = did_you_mean(name, [*CONDITIONS, "store", "home", "flow"])
            raise ConfigError(Problem(f"unknown condition {name!r}", where=WHERE, hint=hint))


def _check_names(stats: StoreStats, stage: str | None, tenant: str | None) -> None:
    """Raises ConfigError: nothing is stored for a stage or tenant, so its name is probably misspelled."""
    for key, name, known in (("stage", stage, stats.stages), ("tenant", tenant, stats.tenants)):
        if name is not None and name not in known:
            hint = did_you_mean(name, [each for each in known if each])
            raise ConfigError(Problem(f"nothing is stored for {name!r}", key=key, hint=hint))
