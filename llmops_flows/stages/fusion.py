"""Several retrievers as one: reciprocal-rank fusion of what each finds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field, SerializeAsAny

from llmops_flows.core.errors import did_you_mean
from llmops_flows.core.record import Document
from llmops_flows.core.stage import Call

from .passages import scored
from .roles import Retriever

Weight = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]


class Hybrid(Retriever):
    """The passages that several retrievers rank high: a passage scores weight / (constant + rank) at each.

    Metadata `ranks` says at which rank each retriever had the passage. Give the retrievers a larger `k` than this
    one has: what none of them returns cannot be found.

    Attributes:
        retrievers: name to retriever; two or more.
        weights: name to how much the retriever counts; 1 where nothing is said.
        constant: the larger, the less the first ranks stand out.
    """

    retrievers: Annotated[dict[str, SerializeAsAny[Retriever]], Field(min_length=2)]
    weights: dict[str, Weight] = Field(default_factory=dict)
    constant: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)] = 60.0

    def faults(self) -> list[str]:
        unknown = sorted(set(self.weights) - set(self.retrievers))
        own = [f"weights: there is no retriever {n!r}; {did_you_mean(n, self.retrievers)}" for n in unknown]
        inner = [f"retrievers.{name}.{fault}" for name, part in self.retrievers.items() for fault in part.faults()]
        return own + inner

    def retrieve(self, questions: Sequence[str], call: Call) -> list[list[Document]]:
        found = {name: part.retrieve(questions, call) for name, part in self.retrievers.items()}
        return [
            self._fused({name: lists[number] for name, lists in found.items()}) for number in range(len(questions))
        ]

    def _fused(self, lists: Mapping[str, Sequence[Document]]) -> list[Document]:
        score: dict[str, float] = defaultdict(float)
        ranks: dict[str, dict[str, int]] = defaultdict(dict)
        documents: dict[str, Document] = {}
        for name, ranked in lists.items():
            for rank, document in enumerate(ranked, 1):
                documents.setdefault(document["id"], document)
                ranks[document["id"]][name] = rank
                score[document["id"]] += self.weights.get(name, 1.0) / (self.constant + rank)
        order = sorted(score, key=lambda name: -score[name])[: self.k]
        return [_ranked(documents[name], score[name], ranks[name]) for name in order]


def _ranked(document: Document, score: float, ranks: Mapping[str, int]) -> Document:
    found = scored(document, score)
    found["metadata"]["ranks"] = dict(ranks)
    return found
