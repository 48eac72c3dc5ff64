"""Counts in words: 1 record, 2 records."""


def plural(count: int, one: str, many: str = "") -> str:
    """The count with its word: `many`, by default `one` with an s, unless it is 1."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
