"""Exit codes of the command line."""

OK = 0
FAILED = 1
"""A command failed, or a stage failed on a question; of a sweep: no point has an answer."""
INVALID_CONFIG = 2
PARTLY_FAILED = 3
"""Something in a sweep failed, and the results of the rest are saved."""
INTERRUPTED = 130
