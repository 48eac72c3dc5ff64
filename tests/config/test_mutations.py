"""A slip of the finger in any key or option name is refused with the right suggestion, or changes nothing."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmops_flows import ConfigError
from llmops_flows.config.compose import compose
from llmops_flows.config.composition.provenance import config_keys
from llmops_flows.config.experiment import Experiment
from llmops_flows.config.files.groups import groups, options
from llmops_flows.config.load import load_experiment
from tests.support.mutants import Word, slips, words

GOAL = 0.99
NAMED = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "LANGSMITH_API_KEY", "DATABASE_URL")
GUESSES = re.compile(r"did you mean (.*?)\?")


@pytest.fixture(autouse=True)
def keys_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMED:
        monkeypatch.setenv(name, "postgresql://localhost/none")


def chosen(file: Path) -> list[str]:
    """Overrides that make a file part of a config."""
    option = file.relative_to(file.parts[0]).with_suffix("").as_posix() if len(file.parts) > 1 else ""
    if not option:
        return ["flow=rag_support"]
    if file.parts[0] == "flow":
        return [f"flow={option}"]
    return ["flow=rag_support", f"{'+' if file.parts[0] == 'debug' else ''}{file.parts[0]}={option}"]


def meaning(experiment: Experiment) -> list[Any]:
    """All that decides answers, scores and how a flow runs; the names of stages and metrics aside."""
    stages = [facts(stage.fingerprint(include_operational=True)) for _, stage in experiment.flow.leaves()]
    scorers = [facts(stage.fingerprint(include_operational=True)) for stage in experiment.evaluators.values()]
    tracers = [facts(tracer.fingerprint(include_operational=True)) for tracer in experiment.tracers.values()]
    return [stages, scorers, tracers, experiment.settings, experiment.cache, experiment.store]


def facts(plain: Any) -> Any:
    """A fingerprint without the prices of models that are not asked (those of the one that is stand in `prices`)."""
    if isinstance(plain, dict):
        return {name: facts(inner) for name, inner in plain.items() if name != "price_list"}
    return [facts(inner) for inner in plain] if isinstance(plain, list) else plain


def verdict(word: Word, name: str, folder: Path) -> str:
    """What becomes of a slip in a file: "" when all is well."""
    shutil.rmtree(folder / "conf", ignore_errors=True)
    place = folder / "conf" / word.file
    place.parent.mkdir(parents=True)
    place.write_text(word.changed(name), encoding="utf-8")
    try:
        found = load_experiment(*chosen(word.file))
    except ConfigError as error:
        told = str(error)
        guessed = any(repr(word.name) in guesses for guesses in GUESSES.findall(told))
        return "" if guessed or f"the key {name!r} is repeated" in told else told
    shutil.rmtree(folder / "conf")
    return (
        "" if meaning(found) == meaning(load_experiment(*chosen(word.file))) else "taken, and it means something else"
    )


def valid(word: Word, name: str) -> bool:
    """Whether the slip makes another valid name of it (v1 for v2): that is no mistake anybody could see."""
    listed = [*groups(), "override", "optional"] if word.kind == "group" else []
    for group in groups() if word.kind == "option" else ():
        listed += options(group)
    return name in listed


def tried(sample: Sequence[tuple[Word, str]], folder: Path) -> None:
    bad = [(w, n, told) for w, n in sample if not valid(w, n) and (told := verdict(w, n, folder))]
    rate = 1 - len(bad) / len(sample)
    print(f"{len(sample)} slips in files: {rate:.2%} refused with the right suggestion, or without any effect")
    assert rate >= GOAL, "\n".join(f"{w.file}:{w.line()} {w.name} -> {n}: {told[:300]}" for w, n, told in bad)


def test_slips_in_the_files_of_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chance = random.Random(0)
    tried([(word, slips(word.name, chance, 1)[0]) for word in chance.sample(words(), 40)], tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_name_in_the_files_of_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chance = random.Random(1)
    tried([(word, name) for word in words() for name in slips(word.name, chance, 5)], tmp_path)


def misspelt_keys(chance: random.Random, count: int) -> Iterator[tuple[str, str, str]]:
    """A key of a config, the same key with a slip in one of its names, and the name that was meant."""
    known = list(config_keys(compose(["flow=rag_support"]).raw))
    for key in chance.sample(known, min(count, len(known))):
        steps = key.split(".")
        number = chance.choice([n for n, step in enumerate(steps) if not step.isdigit()])
        for name in slips(steps[number], chance, 1):
            changed = ".".join([*steps[:number], name, *steps[number + 1 :]])
            if changed not in known:
                yield key, changed, steps[number]


def test_slips_in_the_keys_of_overrides() -> None:
    chance = random.Random(0)
    sample = [slip for _ in range(4) for slip in misspelt_keys(chance, 60)]
    with pytest.raises(ConfigError) as caught:
        load_experiment("flow=rag_support", *dict.fromkeys(f"{changed}=1" for _, changed, _ in sample))
    told = str(caught.value).split("\n  - ")
    bad = []
    for _, changed, meant in sample:
        about = [
            problem
            for problem in told
            if problem.startswith((f"{changed} ", f"{changed}:")) or starts(changed, problem)
        ]
        if not any(repr(meant) in guesses for problem in about for guesses in GUESSES.findall(problem)):
            bad.append((changed, meant, about))
    rate = 1 - len(bad) / len(sample)
    print(f"{len(sample)} slips in keys of overrides: {rate:.2%} refused with the right suggestion")
    assert rate >= GOAL, bad


FREE = ("stages", "evaluator", "tracer", "validators", "params", "retrievers", "weights", "price_list")
"""Mappings whose names are the user's own: there `+` may add one that resembles another."""


def test_plus_adds_no_key_that_nobody_reads() -> None:
    chance = random.Random(0)
    sample = [slip for slip in misspelt_keys(chance, 60) if not any(name in FREE for name in slip[0].split("."))][:12]
    for key, changed, meant in sample:
        for prefix in ("+", "++"):
            with pytest.raises(ConfigError) as caught:
                load_experiment("flow=rag_support", f"{prefix}{changed}=1")
            assert any(repr(meant) in guesses for guesses in GUESSES.findall(str(caught.value))), (key, changed)


def starts(changed: str, problem: str) -> bool:
    """Whether a fault is about what a key stands in (`retriver` for `retriver.k`)."""
    key = problem.partition(" ")[0].rstrip(":")
    return changed == key or changed.startswith(f"{key}.")


def test_slips_in_the_options_of_overrides() -> None:
    chance = random.Random(0)
    meant: dict[str, str] = {}
    for group in groups():
        known = options(group)
        for option in known:
            for name in slips(option, chance, 2):
                if name not in known and not name.endswith("/"):
                    meant[f"{group}={name}"] = option
    with pytest.raises(ConfigError) as caught:
        load_experiment(*meant)
    told = {problem.key: str(problem) for problem in caught.value.problems}
    bad = [
        (typed, o) for typed, o in meant.items() if not any(repr(o) in g for g in GUESSES.findall(told.get(typed, "")))
    ]
    rate = 1 - len(bad) / len(meant)
    print(f"{len(meant)} slips in options of overrides: {rate:.2%} refused with the right suggestion")
    assert rate >= GOAL, bad
