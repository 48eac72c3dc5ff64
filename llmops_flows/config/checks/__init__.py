"""Checks of a config before anything runs."""
