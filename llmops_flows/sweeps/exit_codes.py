"""Exit codes of the command line."""

OK = 0
FAILED = 1
"""A stage failed on some question; in a sweep: nothing was kept."""
WRONG = 2
"""The config is wrong."""
SOME = 3
"""Of a sweep something failed, and the rest is kept."""
INTERRUPTED = 130
