"""The argument parser of one command: argparse, with errors raised as ConfigError."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from llmops_flows.core.errors import ConfigError, Problem
from llmops_flows.text.suggestions import did_you_mean

from .command_table import Command

WHERE = "command line"


class ArgumentParser(argparse.ArgumentParser):
    """Reads the arguments of a command. `doc`: its docstring; the examples in it go to the end of the help."""

    def __init__(self, name: str, doc: str) -> None:
        description, heading, examples = doc.partition("\nExamples:\n")
        super().__init__(
            f"llmops-flows {name}",
            description=description.strip(),
            epilog=f"examples:\n{examples.rstrip()}" if heading else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Raises ConfigError: an unknown option, a missing value, too many or too few arguments."""
        arguments, extra = self.parse_known_intermixed_args(words)
        if extra:
            raise ConfigError([self._unexpected(word) for word in extra])
        return arguments

    def error(self, message: str) -> NoReturn:
        raise ConfigError(Problem(message, where=WHERE, hint=self._usage()))

    def _unexpected(self, word: str) -> Problem:
        if not word.startswith("-"):
            return Problem(f"unexpected argument {word!r}", where=WHERE, hint=self._usage())
        if word in ("-m", "--multirun"):
            hint = "this command reads one config; to check every point of a sweep: llmops-flows plan -m"
        else:
            hint = did_you_mean(word.partition("=")[0], [name for name in self._option_string_actions if "--" in name])
        return Problem(f"unknown option {word!r}", where=WHERE, hint=hint)

    def _usage(self) -> str:
        return " ".join(self.format_usage().split())


def load(command: Command) -> tuple[ModuleType, ArgumentParser]:
    """The module of a command, imported, and its parser."""
    module = command.load()
    parser = ArgumentParser(command.name, module.__doc__ or "")
    module.add_arguments(parser)
    return module, parser


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """The overrides of a command that composes a config."""
    parser.add_argument(
        "overrides",
        nargs="*",
        default=(),
        metavar="key=value",
        help="overrides, as for a run: flow=NAME group=option key=value",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
