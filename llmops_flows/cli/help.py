"""The text of `llmops-flows --help`. Composes no config and imports no command."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from llmops_flows.config.files import groups

from . import command_table, terminal

USAGE = "usage: llmops-flows COMMAND [arguments]\n       llmops-flows [-m] flow=NAME [group=option] [key=value] ..."
RUNS = {
    "flow=NAME": "run a flow over its questions",
    'flow=NAME question="TEXT"': "answer one question; the text needs no quoting beyond the shell's",
    "flow=NAME group=option": "choose another component, such as model=openai",
    "flow=NAME key=value": "change a setting, such as retriever.k=8",
    "-m flow=NAME key=A,B": "a sweep: run every combination of the values",
}
OPTIONS = {
    "-m, --multirun": "run every combination of values given as a,b,c",
    "-c, --cfg job": "print the config, with all its keys (job, hydra or all); --resolve replaces ${...} by values",
    "-i, --info WHAT": "print all, config, defaults, defaults-tree, plugins or searchpath",
    "--config-dir DIR": "search DIR for options before all other folders",
    "-sc install=SHELL": 'tab completion: eval "$(llmops-flows -sc install=bash)"; also zsh and fish',
    "--hydra-help": "print the help of Hydra",
    "--version": "print the versions of llmops_flows and Hydra",
    "-h, --help": "print this help; after a command, the help of that command",
}


def text() -> str:
    """The help of the whole command line."""
    options = groups.options_by_group()
    flows = dict.fromkeys(options.pop("flow", []), "")
    sections = {
        "commands": {name: command.summary for name, command in command_table.commands().items()},
        "run a flow": RUNS,
        "flows": flows,
        "config groups and their options": {name: ", ".join(listed) for name, listed in options.items()},
        "options": OPTIONS,
    }
    parts = [f"{heading}:\n{table(rows)}" for heading, rows in sections.items()]
    return "\n\n".join([USAGE, "LLM pipelines as config.", *parts])


def group_text(command: command_table.Command) -> str:
    """The help of a group of commands."""
    rows = {name: each.summary for name, each in command.subcommands().items()}
    usage = f"usage: llmops-flows {command.name} COMMAND [arguments]"
    hint = f"`llmops-flows {command.name} COMMAND --help` prints the arguments of a command."
    return "\n\n".join([usage, command.summary, f"commands:\n{table(rows)}", hint])


def option_names() -> list[str]:
    """The option strings that `OPTIONS` and its descriptions name."""
    words = " ".join(f"{names} {about}" for names, about in OPTIONS.items()).replace(",", " ").replace(";", " ").split()
    return list(dict.fromkeys(word for word in words if word.startswith("-")))


def table(rows: Mapping[str, str]) -> str:
    """Names with their descriptions, wrapped at the width of the terminal."""
    width = min(max(map(len, rows), default=0), 26)
    columns = min(terminal.columns(), 120)
    indent = " " * (width + 4)
    wrapper = textwrap.TextWrapper(columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(wrapper.fill(f"  {name:<{width}}  {about}".rstrip()) for name, about in rows.items())
