"""Reranker components: `reranker=NAME`."""
