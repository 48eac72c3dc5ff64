"""Listeners to the events of a run: local traces, progress, exporters."""
