"""The data model and its contracts. Standard library and pydantic only."""
