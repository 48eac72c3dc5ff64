"""`python -m llmops_flows`."""

from llmops_flows.cli.main import script

if __name__ == "__main__":
    script()
