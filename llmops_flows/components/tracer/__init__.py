"""Tracer components: `tracer=NAME`."""
