"""Inspect, verify and clean up the store, the indexes and the traces."""
