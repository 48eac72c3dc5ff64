"""Means, intervals and paired tests."""
