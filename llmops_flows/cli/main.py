"""The command line: verbs of our own, and Hydra's run and multirun for everything else."""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from llmops_flows.core.errors import ConfigError, FlowError, Problem
from llmops_flows.sweeps.exit_codes import FAILED, INTERRUPTED, INVALID_CONFIG, OK
from llmops_flows.text.suggestions import nearest

from .command_table import VERBS

_OF_THE_DISK = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code, see `codes`."""
    arguments = [_text(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    gc.set_threshold(200_000, 20, 100)
    try:
        return _run(arguments)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return INVALID_CONFIG
    except FlowError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt as stop:
        print(stop.args[0] if stop.args else "interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _nowhere()
        return OK
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            raise
        hint = "run in a folder that can be written, or name others: hydra.run.dir=FOLDER home=FOLDER"
        where = repr(error.filename) if error.filename else "a file of this run, or what it prints"
        print(f"{error.strerror}: {where}\n    {hint}", file=sys.stderr)
        return FAILED


def _text(word: str) -> str:
    """A word of the command line; where the locale knows ASCII only, its other characters are read as UTF-8."""
    return word.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _run(arguments: list[str]) -> int:
    _refuse_keys(arguments)
    arguments = _folders(arguments)
    first = arguments[0] if arguments else ""
    if first in ("--help", "-h", "help") or {"--help", "-h"} & set(arguments):
        from .help import text

        print(text(VERBS))
        return OK
    if first == "--version":
        print(_version())
        return OK
    if first in VERBS:
        found: int = import_module(f"llmops_flows.cli.commands.{first}").main(arguments[1:])
        return found
    if first and first[0].isalpha() and "=" not in first:
        raise ConfigError(Problem(f"there is no verb {first!r}", hint=_meant(first)))
    from .hydra_app import run

    return run(arguments)


def _meant(word: str) -> str:
    """What a bare word may have been meant as: a verb, or a flow without `flow=`."""
    from llmops_flows.config.files.groups import options

    guess = f"flow={word}" if word in options("flow") else nearest(word, VERBS)
    meant = f"did you mean {guess!r}? " if guess else ""
    return f"{meant}choose from: {', '.join(VERBS)} (--help tells what they do)"


def _folders(arguments: list[str]) -> list[str]:
    """The arguments without `--config-dir DIR`, whose folder joins the search path for every verb."""
    from llmops_flows.config.files import paths

    rest: list[str] = []
    words = iter(arguments)
    paths.named_dirs.clear()
    for word in words:
        flag, equals, value = word.partition("=")
        if flag not in ("--config-dir", "-cd"):
            rest.append(word)
            continue
        folder = Path(value if equals else next(words, ""))
        if not folder.is_dir():
            raise ConfigError(Problem(f"there is no folder {str(folder)!r}", key=flag, where="command line"))
        paths.named_dirs.append(folder.resolve())
    return rest


def _version() -> str:
    from importlib.metadata import version

    return f"llmops_flows {version('llmops-flows')} (Hydra {version('hydra-core')})"


def _refuse_keys(arguments: Sequence[str]) -> None:
    """Keys typed on a command line end up in shell histories and in the files that Hydra writes."""
    from llmops_flows.config.composition.quoting import FREE_TEXT
    from llmops_flows.core.redaction import has_secret

    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals and name.lstrip("+") not in FREE_TEXT and has_secret(value):
            hint = "put it into an environment variable and name the variable: model.api_key_env=MY_KEY"
            raise ConfigError(Problem("this looks like a key", key=name, where="command line", hint=hint))


def _nowhere() -> None:
    """Nobody takes what is still to be printed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt(*_: object) -> None:
    """Whoever is told to end keeps what is finished, as with Ctrl-C."""
    raise KeyboardInterrupt


def script() -> None:
    """The console script. Leaves without waiting for threads that an interrupted call may still hold."""
    from llmops_flows.config import redacted_output

    redacted_output.redact_streams()
    signal.signal(signal.SIGTERM, _interrupt)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # looking for them reads every installed package
    code = main()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        _nowhere()
    except OSError as error:
        _nowhere()
        print(f"what this run prints cannot be written: {error.strerror}", file=sys.stderr)
        code = code or FAILED
    if code == INTERRUPTED:
        os._exit(code)
    gc.freeze()  # else the interpreter looks through every object once more before it leaves: a tenth of a short run
    sys.exit(code)
