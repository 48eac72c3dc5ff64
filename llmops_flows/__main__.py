"""`python -m llmops_flows`."""

from .cli.main import script

if __name__ == "__main__":
    script()
