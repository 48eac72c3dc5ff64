"""Splitter components: `splitter=NAME`."""
