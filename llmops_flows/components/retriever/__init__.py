"""Retriever components: `retriever=NAME`."""
