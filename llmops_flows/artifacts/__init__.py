"""Built files and loaded objects: indexes, file locks, shared resources."""
