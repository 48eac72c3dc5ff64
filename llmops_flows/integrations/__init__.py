"""Bridges to whole frameworks."""
