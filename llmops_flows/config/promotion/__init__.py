"""Writing a run as a new flow file."""
