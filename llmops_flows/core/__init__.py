"""What everything else stands on: stages, addresses, records, the runner. Standard library and pydantic only."""
