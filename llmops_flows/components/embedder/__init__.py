"""Embedder components: `embedder=NAME`."""
