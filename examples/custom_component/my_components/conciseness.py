"""An evaluator that prefers short answers."""

from pydantic import PositiveInt

from llmops_flows import Evaluator


class Conciseness(Evaluator):
    """conciseness: 1 for an answer of at most `words` words, falling to 0 at twice as many."""

    words: PositiveInt = 20

    def run(self, answer: str) -> dict[str, float]:
        excess = len(answer.split()) / self.words - 1
        return {"conciseness": min(1.0, max(0.0, 1 - excess))}
