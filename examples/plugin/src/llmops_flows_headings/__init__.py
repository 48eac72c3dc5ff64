"""Markdown headings: a splitter, a reranker, an exporter and a command."""
