"""Benchmarks: ratios to what a user would otherwise do, measured side by side. `make bench` prints all of them."""
