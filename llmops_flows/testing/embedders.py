"""A small real embedder for tests, and the contract suite for embedders."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from llmops_flows.core.roles import Embedder, Vectors
from llmops_flows.text.words import content_words


class WordVectors(Embedder):
    """Counts words by their hash, so similar texts have similar vectors. `batches` holds the texts of each call."""

    batches: ClassVar[list[list[str]]] = []
    dimensions: int = 64

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        import numpy

        self.batches.append(list(texts))
        vectors = numpy.full((len(texts), self.dimensions), 1e-3, dtype="float32")
        for row, text in enumerate(texts):
            for word in content_words(text):
                vectors[row, zlib.crc32(word.encode()) % self.dimensions] += 1
        return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


class EmbedderContract(ABC):
    """The contract of embedders. Inherit it, and implement `embedder`."""

    @abstractmethod
    def embedder(self) -> Embedder:
        """A fresh embedder, always of the same configuration."""

    def test_each_text_has_a_vector_of_length_one(self) -> None:
        import numpy

        vectors = self.embedder().embed(["one text", "another", "a third text, which is longer"])
        assert vectors.dtype == numpy.float32
        assert len(vectors) == 3
        assert numpy.allclose(numpy.linalg.norm(vectors, axis=1), 1, atol=1e-3)

    def test_a_text_has_the_same_vector_alone_and_in_a_batch(self) -> None:
        import numpy

        embedder = self.embedder()
        batch = embedder.embed(["refund", "how long does a refund take?", "x" * 500])
        alone = embedder.embed(["how long does a refund take?"])
        assert numpy.allclose(batch[1], alone[0], atol=1e-5)

    def test_no_texts_give_no_vectors(self) -> None:
        assert len(self.embedder().embed([])) == 0

    def test_empty_and_unusual_texts_have_finite_vectors(self) -> None:
        import numpy

        assert numpy.isfinite(self.embedder().embed(["", " ", "\u0000", "日本語 🙂", "word " * 5000])).all()

    def test_the_same_configuration_has_the_same_identity(self) -> None:
        assert self.embedder().identity == self.embedder().identity
