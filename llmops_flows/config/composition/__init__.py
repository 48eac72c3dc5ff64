"""Composing a config from files and overrides, as Hydra does."""
