"""The command line."""

import os

# Before pydantic is imported: its search for plugins reads the metadata of every installed package.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
