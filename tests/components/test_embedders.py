"""Embedders with packaged weights keep the contract and know what is alike."""

from __future__ import annotations

import logging

import pytest

from llmops_flows.components.embedder.minilm import MiniLM
from llmops_flows.components.embedder.wordllama import WordLlama
from llmops_flows.core.roles import Embedder
from llmops_flows.testing.embedders import EmbedderContract, WordVectors


class TestWordVectors(EmbedderContract):
    def embedder(self) -> Embedder:
        return WordVectors()


class TestWordLlama(EmbedderContract):
    def embedder(self) -> Embedder:
        return WordLlama()


class TestMiniLM(EmbedderContract):
    def embedder(self) -> Embedder:
        return MiniLM()


@pytest.mark.parametrize("embedder", [WordLlama(), MiniLM()], ids=["wordllama", "minilm"])
def test_what_means_the_same_is_nearer_than_what_does_not(embedder: Embedder) -> None:
    asked, same, other = embedder.embed(
        ["How do I get my money back?", "Refunds are paid within five days.", "The moon orbits the earth."]
    )
    assert asked @ same > asked @ other


def test_wordllama_leaves_logging_alone() -> None:
    level, handlers = logging.root.level, list(logging.root.handlers)
    WordLlama().embed(["x"])
    assert logging.root.level == level
    assert logging.root.handlers == handlers


def test_fewer_dimensions_make_shorter_vectors() -> None:
    assert WordLlama(dimensions=64).embed(["x"]).shape == (1, 64)


def test_threads_decide_no_vector() -> None:
    assert MiniLM(threads=1).identity == MiniLM(threads=2).identity != MiniLM(max_tokens=64).identity
