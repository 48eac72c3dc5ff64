"""Prompt components: `prompt=NAME`."""
