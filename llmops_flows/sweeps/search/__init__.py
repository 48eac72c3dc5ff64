"""Searches: Optuna proposes the points of a sweep."""
