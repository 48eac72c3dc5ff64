"""`embedder=wordllama`: static word vectors, thousands of texts per second, with weights in the package."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.artifacts.resources import shared
from llmops_flows.core.roles import Embedder, Vectors


class WordLlama(Embedder):
    """Mean of static word vectors (256 dimensions or fewer). Needs no network.

    Attributes:
        dimensions: length of the vectors.
    """

    requires: ClassVar[tuple[str, ...]] = ("wordllama",)
    extra: ClassVar[str] = "wordllama"
    dimensions: Literal[64, 128, 256] = 256

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        numpy = load("numpy", self.extra, type(self).__name__)
        if not texts:
            return numpy.zeros((0, self.dimensions), dtype="float32")
        return shared(self, self._load).embed([text if text.strip() else "." for text in texts], norm=True)

    def _load(self) -> Any:
        settings = [(handler, handler.level) for handler in logging.root.handlers], logging.root.level
        module = load("wordllama", self.extra, type(self).__name__)
        _restore_logging(*settings)
        folder = Path(module.__file__).parent
        return module.WordLlama.load(cache_dir=folder, disable_download=True, trunc_dim=self.dimensions)


def _restore_logging(handlers: list[tuple[logging.Handler, int]], level: int) -> None:
    """Undo what wordllama's import does to the root logger, which the application configures."""
    for handler in list(logging.root.handlers):
        if handler not in dict(handlers):
            logging.root.removeHandler(handler)
    logging.root.setLevel(level)
