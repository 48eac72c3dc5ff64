"""Fixtures of the tests of the engine: the gate and its clock."""

from tests.calls.conftest import clock, gate

__all__ = ["clock", "gate"]
