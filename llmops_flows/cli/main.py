"""The entry point of the command line: runs a command, or passes the arguments to Hydra."""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from llmops_flows.config import redacted_output
from llmops_flows.config.composition.quoting import FREE_TEXT
from llmops_flows.config.files import paths
from llmops_flows.config.files.groups import options
from llmops_flows.core.errors import ConfigError, FlowError, Problem
from llmops_flows.core.redaction import has_secret
from llmops_flows.sweeps.exit_codes import FAILED, INTERRUPTED, INVALID_CONFIG, OK
from llmops_flows.text.suggestions import did_you_mean

from . import command_table
from .command_table import Command
from .terminal import wrap

WHERE = "command line"
_HELP = {"--help", "-h"}
_DISK_ERRORS = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code, see `sweeps.exit_codes`."""
    words = [_as_utf8(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    gc.set_threshold(200_000, 20, 100)
    try:
        return _run(words)
    except ConfigError as error:
        print(wrap(str(error), sys.stderr), file=sys.stderr)
        return INVALID_CONFIG
    except FlowError as error:
        print(wrap(f"{type(error).__name__}: {error}", sys.stderr), file=sys.stderr)
        return FAILED
    except KeyboardInterrupt as stop:
        print(stop.args[0] if stop.args else "interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return OK
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        hint = "run in a writable folder, or name other folders: hydra.run.dir=FOLDER home=FOLDER"
        where = repr(error.filename) if error.filename else "a file of this run, or its output"
        print(f"{error.strerror}: {where}\n    {hint}", file=sys.stderr)
        return FAILED


def _as_utf8(word: str) -> str:
    """An argument with its non-ASCII bytes, which an ASCII locale does not decode, decoded as UTF-8."""
    return word.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _run(words: list[str]) -> int:
    _refuse_secrets(words)
    words = _take_config_dirs(words)
    first = words[0] if words else ""
    if first == "--version":
        from importlib.metadata import version

        print(f"llmops_flows {version('llmops-flows')} (Hydra {version('hydra-core')})")
        return OK
    command = command_table.find(first) if _is_bare(first) else None
    if command is not None:
        return _run_command(command, words[1:])
    if first == "help" or _HELP & set(words):
        from . import help

        print(help.text())
        return OK
    if _is_bare(first):
        names = command_table.commands()
        hint = f"did you mean 'flow={first}'?" if first in options("flow") else did_you_mean(first, names)
        raise ConfigError(Problem(f"unknown command {first!r}", where=WHERE, hint=f"{hint} (see --help)"))
    from .hydra_app import run

    return run(words)


def _is_bare(word: str) -> bool:
    """Whether a word may be the name of a command: neither an override nor an option."""
    return word[:1].isalpha() and "=" not in word


def _run_command(command: Command, words: Sequence[str]) -> int:
    from . import argument_parser

    if subcommands := command.subcommands():
        name = words[0] if words else ""
        if name in subcommands:
            return _run_command(subcommands[name], words[1:])
        if _HELP & set(words):
            from .help import group_text

            print(group_text(command))
            return OK
        problem = f"unknown command '{command.name} {name}'" if name else f"{command.name!r} needs a command"
        raise ConfigError(Problem(problem, where=WHERE, hint=did_you_mean(name, subcommands)))
    module, parser = argument_parser.load(command)
    if _HELP & set(words):
        parser.print_help()
        return OK
    code: int = module.main(parser.parse(words))
    return code


def _take_config_dirs(words: Sequence[str]) -> list[str]:
    """The arguments without `--config-dir DIR`, whose folder joins the search path for every command."""
    rest: list[str] = []
    paths.command_line_dirs.clear()
    remaining = iter(words)
    for word in remaining:
        flag, equals, value = word.partition("=")
        if flag not in ("--config-dir", "-cd"):
            rest.append(word)
            continue
        folder = Path(value if equals else next(remaining, ""))
        if not folder.is_dir():
            raise ConfigError(Problem(f"folder not found: {str(folder)!r}", key=flag, where=WHERE))
        paths.command_line_dirs.append(folder.resolve())
    return rest


def _refuse_secrets(words: Sequence[str]) -> None:
    """Raise ConfigError for an API key: shells and Hydra store the command line in plain text."""
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name.lstrip("+") not in FREE_TEXT and has_secret(value):
            hint = "put it into an environment variable and name the variable: model.api_key_env=MY_KEY"
            raise ConfigError(Problem("this looks like an API key", key=name, where=WHERE, hint=hint))


def _discard_output() -> None:
    """Redirect standard output to the null device: its reader closed the pipe, or it cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt(*_: object) -> None:
    """Handle SIGTERM like Ctrl-C: finished work is stored."""
    raise KeyboardInterrupt


def script() -> None:
    """The console script. Exits without waiting for threads that an interrupted call may still block."""
    redacted_output.redact_streams()
    signal.signal(signal.SIGTERM, _interrupt)
    code = main()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        _discard_output()
    except OSError as error:
        _discard_output()
        print(f"the output cannot be written: {error.strerror}", file=sys.stderr)
        code = code or FAILED
    if code == INTERRUPTED:
        os._exit(code)
    gc.freeze()  # otherwise the interpreter traverses every object once more at exit: a tenth of a short run
    sys.exit(code)
