"""Evaluator components: `evaluator=NAME`."""
