"""An identity holds config, code and data: all that decides an answer, and nothing else."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from llmops_flows import OPERATIONAL, Part, Stage
from llmops_flows.core.fingerprint import address, content, decode, digest, encode
from llmops_flows.core.record import Slot

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class Reader(Part):
    folder: Path
    size: int = 3
    timeout: Annotated[float, OPERATIONAL] = 1.0
    key: SecretStr | None = None


class Step(Stage):
    writes: ClassVar[str] = "answer"
    inner: Reader | None = None

    def run(self, question: str, extra: str = "") -> str:
        return question


@given(plain)
def test_plain_data_survives_encoding(value: Any) -> None:
    assert decode(encode(value)) == value


def test_the_order_of_keys_does_not_count() -> None:
    assert address({"a": 1, "b": 2}) == address({"b": 2, "a": 1})


def test_where_one_part_ends_counts() -> None:
    assert digest("ab", "c") != digest("a", "bc")


def test_nan_has_no_address() -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode(float("nan"))


def test_a_path_counts_by_what_it_holds(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("same")
    one, two = Reader(folder=tmp_path / "one"), Reader(folder=tmp_path / "two")
    assert one.identity == two.identity
    (tmp_path / "two" / "a.txt").write_text("other")
    assert Reader(folder=tmp_path / "two").identity != one.identity


def test_hidden_files_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    before = content(tmp_path)
    (tmp_path / ".DS_Store").write_text("noise")
    assert content(tmp_path) == before


def test_operational_fields_and_secrets_do_not_count(tmp_path: Path) -> None:
    one = Reader(folder=tmp_path, timeout=1, key=SecretStr("a"))
    two = Reader(folder=tmp_path, timeout=9, key=SecretStr("b"))
    assert one.identity == two.identity
    assert one.configuration != two.configuration


def test_a_nested_part_counts(tmp_path: Path) -> None:
    one, two = (Step(inner=Reader(folder=tmp_path, size=n)) for n in (1, 2))
    assert one.identity != two.identity


def test_a_key_depends_on_every_slot_read_and_on_the_tenant() -> None:
    step, slots = Step(), {"question": Slot.of("a").address}
    keys = {
        step.key(slots),
        step.key(slots, tenant="t"),
        step.key({**slots, "extra": Slot.of("b").address}),
        step.key({"question": Slot.of("b").address}),
    }
    assert len(keys) == 4
    assert step.key({**slots, "unread": "x"}) == step.key(slots)


def test_a_users_component_counts_by_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    source = (
        "from llmops_flows import Stage\nclass Mine(Stage):\n"
        "    writes = 'answer'\n    def run(self, question): return {}\n"
    )
    found = []
    for text in ("1", "2", "1"):
        (tmp_path / "mine_xyz.py").write_text(source.format(text))
        sys.modules.pop("mine_xyz", None)
        importlib.invalidate_caches()
        from llmops_flows.core import fingerprint

        fingerprint._library.cache_clear()
        found.append(importlib.import_module("mine_xyz").Mine().identity)
    sys.modules.pop("mine_xyz", None)
    assert found[0] == found[2] != found[1]


def test_a_package_without_an_init_counts_by_all_its_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmops_flows.core import fingerprint

    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    folder = tmp_path / "parts_xyz"
    folder.mkdir()
    source = "from llmops_flows import Stage\nclass Mine(Stage):\n    writes = 'answer'\n"
    (folder / "mine.py").write_text(source + "    def run(self, question): return 1\n")
    found = []
    for file, text in (
        ("", ""),
        ("mine.py", source + "    def run(self, question): return 2\n"),
        ("near.py", "x = 1\n"),
    ):
        if file:
            (folder / file).write_text(text)
        for name in ("parts_xyz.mine", "parts_xyz"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        fingerprint._library.cache_clear()
        told = fingerprint.target_code("parts_xyz.mine.Mine")  # before it is imported
        fingerprint._library.cache_clear()
        found.append(importlib.import_module("parts_xyz.mine").Mine().identity)
        assert fingerprint.target_code("parts_xyz.mine.Mine") == told
    assert len(set(found)) == 3


def test_a_library_that_shares_its_name_with_others_counts_by_its_own_version() -> None:
    from importlib.metadata import version

    from llmops_flows.core import fingerprint

    told = fingerprint.target_code("llama_index.core.node_parser.SentenceSplitter")
    assert told == f"llama-index-core {version('llama-index-core')}"
