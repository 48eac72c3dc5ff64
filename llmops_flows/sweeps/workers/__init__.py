"""Worker processes of a sweep."""
