"""A support desk: an LCEL chain that prepares a ticket, asks a flow, and formats the reply."""

from operator import itemgetter
from typing import Any

from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from llmops_flows import load_flow

TICKETS = [
    {"id": 1, "text": "  What does Northwind Standard cover for emergency care? "},
    {"id": 2, "text": "Who won the football world cup in 1954?"},
]


def format_reply(ticket: dict[str, Any]) -> str:
    result = ticket["result"]
    lines = [f"ticket {ticket['id']}: {ticket['question']}", f"  {result['answer']}"]
    if all(verdict["passed"] for verdict in result["verdicts"].values()):
        lines.append(f"  source: {result['documents'][0]['metadata']['source']}")
    return "\n".join(lines)


flow = load_flow("rag_support", "model=extractive", "retriever=bm25")
chain = (
    RunnablePassthrough.assign(question=itemgetter("text") | RunnableLambda(str.strip))
    | RunnablePassthrough.assign(result=itemgetter("question") | flow)
    | RunnableLambda(format_reply)
)

# A batch runs as one run of the flow.
for reply in chain.batch(TICKETS):
    print(reply)

# A stream yields pieces of the answer as soon as the guardrails pass them.
print("streamed:", end=" ")
for piece in flow.stream("What does Northwind Standard cover for emergency care?"):
    print(piece.get("answer", ""), end="", flush=True)
print()
