"""Execution of flows: the runner, scheduling, the answer cache, planning."""
