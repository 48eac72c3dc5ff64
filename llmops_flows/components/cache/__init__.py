"""Cache policies: `cache=NAME`."""
