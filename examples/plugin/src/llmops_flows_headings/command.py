"""Print the headings of a Markdown file.

Examples:
  llmops-flows headings README.md
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="a Markdown file")


def main(arguments: Namespace) -> int:
    lines = arguments.file.read_text(encoding="utf-8").split("\n")
    print("\n".join(line for line in lines if line.startswith("#")))
    return 0
