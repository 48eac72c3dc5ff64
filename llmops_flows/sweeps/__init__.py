"""Many configs at once."""
