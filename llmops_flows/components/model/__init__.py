"""Model components: `model=NAME`."""
