"""The edge: the command line, one file a verb."""
