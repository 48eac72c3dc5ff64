"""Benchmarks: ratios to the alternatives that users have, measured side by side. `make bench` prints all of them."""
