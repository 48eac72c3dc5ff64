"""Ratios against what a user would otherwise do, measured side by side in one run. `make bench` prints them all."""
