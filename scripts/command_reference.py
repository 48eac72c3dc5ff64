"""Writes docs/reference/commands.md from the help of every command.

Run `make reference` after the arguments or the docstring of a command changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from llmops_flows.cli import argument_parser, command_table, help
from llmops_flows.cli.command_table import Command

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "commands.md"
_HEAD = """\
# Command reference

Generated from `--help` by `make reference`. [Commands](../commands.md) shows them in use.
"""
_COLUMNS = "88"


def expected() -> str:
    """The text of the page."""
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _COLUMNS
    try:
        return "\n".join([_HEAD, *_sections()])
    finally:
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns


def _sections() -> Iterator[str]:
    commands = command_table.built_in()
    tables = {
        "commands": {name: command.summary for name, command in commands.items()},
        "run a flow": help.RUNS,
        "options": help.OPTIONS,
    }
    text = "\n\n".join([help.USAGE, *(f"{heading}:\n{help.table(rows)}" for heading, rows in tables.items())])
    yield _section("llmops-flows", text)
    for command in commands.values():
        yield from _command(command)


def _command(command: Command) -> Iterator[str]:
    subcommands = command.subcommands()
    if subcommands:
        yield _section(command.name, help.group_text(command))
        for subcommand in subcommands.values():
            yield from _command(subcommand)
    else:
        _, parser = argument_parser.load(command)
        yield _section(command.name, parser.format_help().rstrip())


def _section(name: str, text: str) -> str:
    return f"## {name}\n\n```text\n{text}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(expected(), encoding="utf-8")
