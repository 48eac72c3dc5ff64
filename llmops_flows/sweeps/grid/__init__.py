"""The points of a sweep, from its overrides."""
