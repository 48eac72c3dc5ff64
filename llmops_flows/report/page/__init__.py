"""The report of a sweep as one HTML page."""
