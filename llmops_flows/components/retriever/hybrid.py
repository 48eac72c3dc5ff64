"""`retriever=hybrid`: reciprocal rank fusion of several retrievers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Annotated

from pydantic import Field, SerializeAsAny

from llmops_flows.core.record import Document
from llmops_flows.core.roles import Retriever
from llmops_flows.core.stage import Call
from llmops_flows.documents.passages import with_score
from llmops_flows.text.suggestions import did_you_mean

Weight = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]


class HybridRetriever(Retriever):
    """Ranks passages by their ranks in several retrievers; each adds weight / (constant + rank) to the score.

    Metadata `ranks` has the rank of the passage in each retriever. The retrievers should have a larger `k` than this
    one, because only passages that they return are ranked.

    Attributes:
        retrievers: name to retriever; two or more.
        weights: name to the weight of the retriever; 1 by default.
        constant: a larger value reduces the advantage of the first ranks.
    """

    retrievers: Annotated[dict[str, SerializeAsAny[Retriever]], Field(min_length=2)]
    weights: dict[str, Weight] = Field(default_factory=dict)
    constant: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)] = 60.0

    def problems(self) -> list[str]:
        unknown = sorted(set(self.weights) - set(self.retrievers))
        problems = [f"weights: unknown retriever {n!r}; {did_you_mean(n, self.retrievers)}" for n in unknown]
        problems += [
            f"retrievers.{name}.{problem}" for name, part in self.retrievers.items() for problem in part.problems()
        ]
        return problems

    def retrieve(self, questions: Sequence[str], call: Call) -> list[list[Document]]:
        results = {name: part.ranked(questions, call) for name, part in self.retrievers.items()}
        longest = max((len(ranked) for lists in results.values() for ranked in lists), default=0)
        shares = {name: [self._share(name, rank) for rank in range(1, longest + 1)] for name in results}
        return [
            self._fused({name: lists[number] for name, lists in results.items()}, shares)
            for number in range(len(questions))
        ]

    def _share(self, name: str, rank: int) -> float:
        return self.weights.get(name, 1.0) / (self.constant + rank)

    def _fused(self, lists: Mapping[str, Sequence[Document]], shares: Mapping[str, Sequence[float]]) -> list[Document]:
        score: dict[str, float] = {}
        positions: dict[str, dict[str, int]] = {}
        for name, ranked in lists.items():
            ids = [document["id"] for document in ranked]
            positions[name] = dict(zip(ids, count(1)))
            for passage, share in zip(ids, shares[name], strict=False):
                score[passage] = score.get(passage, 0.0) + share
        best = sorted(score, key=score.__getitem__, reverse=True)[: self.k]
        ranks = [{name: ranked[b] for name, ranked in positions.items() if b in ranked} for b in best]
        return [_ranked(lists, score[b], r) for b, r in zip(best, ranks, strict=True)]


def _ranked(lists: Mapping[str, Sequence[Document]], score: float, ranks: dict[str, int]) -> Document:
    """The passage at these ranks, with its score."""
    name, rank = next(iter(ranks.items()))
    passage = with_score(lists[name][rank - 1], score)
    passage["metadata"]["ranks"] = ranks
    return passage
