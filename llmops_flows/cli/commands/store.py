"""`store stats|verify|evict`: what is kept, whether it is as it was written, and what is let go."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.core.store import EvictionReport, MaintainedStore, StoreStats
from llmops_flows.report.text import amounts
from llmops_flows.text.suggestions import did_you_mean

from ..argv import parse

if TYPE_CHECKING:
    from llmops_flows.config.storage import Storage

USAGE = (
    "store stats, store verify [--repair], or store evict [max_size=2GB] [older_than=90d] [stage=NAME] [tenant=NAME] "
    "[--dry-run]; each with --json and overrides such as store=redis, home=FOLDER, flow=NAME"
)
CONDITIONS = ("max_size", "older_than", "stage", "tenant")


def main(arguments: Sequence[str]) -> int:
    """Look after what is kept. Returns 0; for `verify` 1 where damage was found and not repaired."""
    verb, *rest = arguments or [""]
    if verb not in _VERBS:
        what = f"store has no {verb!r}" if verb else "what shall be done with the store?"
        hint = did_you_mean(verb, _VERBS).partition("choose from")[0] if verb else ""
        raise ConfigError(Problem(what, where="command line", hint=hint + USAGE))
    flags, work = _VERBS[verb]
    words, given, _ = parse(rest, ("--json", *flags))
    bare = [word for word in words if "=" not in word]
    if bare:
        hint = did_you_mean(bare[0], [*("--json", *flags), *CONDITIONS])
        raise ConfigError(Problem(f"store {verb} takes no {bare[0]!r}", where="command line", hint=hint))
    return work(words, given)


def stats(words: Sequence[str], given: set[str]) -> int:
    """How much is kept, and of what."""
    from llmops_flows.artifacts.inventory import list_artifacts
    from llmops_flows.report.text import store_text

    storage = _storage(words)
    found = _with(storage, lambda store: store.stats()) or StoreStats(0, 0, 0, 0.0, 0.0, {}, {}, {})
    indexes = list_artifacts(storage.home)
    traces = _traces(storage)
    if "--json" in given:
        kinds = {kind: sum(one.kind == kind for one in indexes) for kind in sorted({one.kind for one in indexes})}
        more = {"count": kinds, "bytes": sum(one.bytes for one in indexes)}
        _json(
            {
                "store": storage.store.location,
                "home": str(storage.home),
                **asdict(found),
                "indexes": more,
                "traces": traces,
            }
        )
    else:
        print(store_text.format_stats(storage.store.location, str(storage.home), found, indexes, traces))
    return 0


def verify(words: Sequence[str], given: set[str]) -> int:
    """Is everything as it was written? With --repair, what is not is dropped, and computed again when needed."""
    from llmops_flows.artifacts import inventory
    from llmops_flows.report.text import store_text
    from llmops_flows.tracing import verification

    storage, repair = _storage(words), "--repair" in given
    answers = _with(storage, lambda store: store.verify(repair=repair))
    indexes = inventory.list_artifacts(storage.home, check=True)
    traces, bad = verification.verify(storage.traces.path, repair=repair) if storage.traces else (0, {})
    broken = [one for one in indexes if one.problems]
    if repair:
        for one in broken:
            inventory.remove_artifact(storage.home, one)
    found = store_text.StoreCheck(
        storage.store.location, answers.entries if answers else 0, answers.values if answers else 0,
        len(indexes) - len(broken), traces, store_text.damaged_items(answers.lost if answers else {}, broken, bad),
    )  # fmt: skip
    if "--json" in given:
        _json({**asdict(found), "repaired": repair and bool(found.lost)})
    else:
        print(store_text.format_check(found, repaired=repair))
    return 1 if found.lost and not repair else 0


def evict(words: Sequence[str], given: set[str]) -> int:
    """Let go of what is too much, too old, of one stage or of one tenant."""
    from llmops_flows.report.text import store_text

    said = {name: value for name, _, value in (word.partition("=") for word in words) if name in CONDITIONS}
    _known(words)
    if not said:
        raise ConfigError(Problem("what shall go? nothing was said", where="command line", hint=USAGE))
    room = amounts.parse_size(said["max_size"], "max_size") if "max_size" in said else None
    old = amounts.parse_age(said["older_than"], "older_than") if "older_than" in said else None
    stage, tenant, dry = said.get("stage"), said.get("tenant"), "--dry-run" in given
    storage = _storage([word for word in words if word.partition("=")[0] not in CONDITIONS])

    def work(store: MaintainedStore) -> EvictionReport:
        if stage is not None or tenant is not None:
            _there(store.stats(), stage, tenant)
        return store.evict(max_bytes=room, older_than=old, stage=stage, tenant=tenant, dry=dry)

    gone = _with(storage, work) or EvictionReport(0, 0, 0, {})
    if "--json" in given:
        _json({"store": storage.store.location, **asdict(gone), "dry_run": dry})
    else:
        print(store_text.format_evicted(gone, dry=dry))
    return 0


_VERBS: dict[str, tuple[tuple[str, ...], Callable[[Sequence[str], set[str]], int]]] = {
    "stats": ((), stats),
    "verify": (("--repair",), verify),
    "evict": (("--dry-run",), evict),
}


def _storage(overrides: Sequence[str]) -> Storage:
    from llmops_flows.config.composition.quoting import quote_overrides
    from llmops_flows.config.storage import load_storage

    return load_storage(quote_overrides(overrides))


def _with(storage: Storage, work: Callable[[MaintainedStore], Any]) -> Any:
    """What work gives for the opened store; None where nothing was kept yet, and no store is made for it."""
    if not storage.store.may_hold_entries:
        return None
    store = storage.store.open()
    try:
        if not isinstance(store, MaintainedStore):
            what = f"{type(store).__name__} cannot be looked after: it has no stats, verify and evict"
            raise ConfigError(Problem(what, key="store", hint="inherit llmops_flows.testing.stores.TendedContract"))
        return work(store)
    finally:
        store.close()


def _traces(storage: Storage) -> dict[str, Any] | None:
    from llmops_flows.tracing import verification

    if storage.traces is None or not storage.traces.path.exists():
        return None
    traces, runs = verification.trace_counts(storage.traces.path)
    return {
        "path": str(storage.traces.path),
        "traces": traces,
        "runs": runs,
        "bytes": storage.traces.path.stat().st_size,
    }


def _known(words: Sequence[str]) -> None:
    """A misspelt condition is told as such, and not as a key that the config lacks."""
    from llmops_flows.config.experiment import RunSettings
    from llmops_flows.config.files.groups import groups

    for word in words:
        name = word.partition("=")[0]
        known = [*CONDITIONS, *RunSettings.model_fields, *groups(), "hydra"]
        if name.isidentifier() and name not in known:
            hint = did_you_mean(name, [*CONDITIONS, "store", "home", "flow"])
            raise ConfigError(Problem(f"store evict takes no {name!r}", where="command line", hint=hint))


def _there(found: StoreStats, stage: str | None, tenant: str | None) -> None:
    """Raises ConfigError where nothing is kept of a stage or tenant: most likely it is misspelt."""
    for key, name, known in (("stage", stage, found.stages), ("tenant", tenant, found.tenants)):
        if name is not None and name not in known:
            listed = [one for one in known if one]
            raise ConfigError(Problem(f"nothing is kept of {name!r}", key=key, hint=did_you_mean(name, listed)))


def _json(data: Any) -> None:
    print(json.dumps(data, indent=2, ensure_ascii=False))
