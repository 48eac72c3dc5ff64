"""`embedder=sentence_transformers`: a Sentence Transformers model on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.artifacts.resources import shared
from llmops_flows.core.errors import BackendError
from llmops_flows.core.roles import Embedder, Vectors
from llmops_flows.core.stage import OPERATIONAL, Positive


class SentenceTransformers(Embedder):
    """A model of the sentence-transformers library (needs torch). Nothing is downloaded.

    Attributes:
        name: name of a model in the local cache, or its folder.
        query_prompt: name of the model's prompt for questions, if it has one.
        device: torch device; None for the library's default.
        batch: texts per batch.
    """

    requires: ClassVar[tuple[str, ...]] = ("sentence_transformers",)
    extra: ClassVar[str] = "pip install sentence-transformers"
    name: str
    query_prompt: str | None = None
    device: Annotated[str | None, OPERATIONAL] = None
    batch: Annotated[Positive, OPERATIONAL] = 32

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        prompt = self.query_prompt if query else None
        return shared(self, self._load).encode(
            list(texts), batch_size=self.batch, prompt_name=prompt, normalize_embeddings=True, show_progress_bar=False
        )

    def _load(self) -> Any:
        library = load("sentence_transformers", self.extra, type(self).__name__)
        try:
            return library.SentenceTransformer(self.name, device=self.device, local_files_only=True)
        except (OSError, ValueError) as error:
            raise BackendError(f"model {self.name!r} not found on this machine: {error}") from error
