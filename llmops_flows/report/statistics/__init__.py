"""Intervals, paired tests and corrections: one mechanism for runs, leaderboards, comparisons and early stopping."""
