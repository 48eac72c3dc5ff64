"""LangSmith: the shape of its runs, and the delivery of traces to its API."""
