"""The metrics that rank a leaderboard, and those of which less is better."""

METRIC_ORDER = ("answer_correctness", "groundedness", "answer_relevance", "hit", "ndcg", "context_relevance")
"""The leaderboard sorts by the first of these that was scored, unless a metric is given."""
LOWER_IS_BETTER = frozenset({"over_refusal", "toxicity", "harm", "cost_usd", "seconds", "tokens"})


def lower_is_better(metric: str) -> bool:
    """Whether less of a metric is better."""
    return metric in LOWER_IS_BETTER
