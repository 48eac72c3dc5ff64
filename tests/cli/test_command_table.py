"""Commands are found by their files and by the entry points of plugins, and described by their docstrings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmops_flows.cli import argument_parser, command_table
from llmops_flows.cli.command_table import Command
from llmops_flows.cli.main import main
from scripts import command_reference

GREET = '''"""Greet someone.

Examples:
  llmops-flows greet Ada
  llmops-flows greet Ada --loud
"""

from argparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="whom to greet")
    parser.add_argument("--loud", action="store_true", help="in capitals")


def main(arguments: Namespace) -> int:
    text = f"hello {arguments.name}"
    print(text.upper() if arguments.loud else text)
    return 0
'''


def all_commands(commands: dict[str, Command]) -> list[Command]:
    """The commands, those of groups in place of the group."""
    return [leaf for command in commands.values() for leaf in command.subcommands().values() or [command]]


COMMANDS = all_commands(command_table.built_in())


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_has_a_summary_and_two_examples(command: Command) -> None:
    module, parser = argument_parser.load(command)
    assert command.summary == (module.__doc__ or "").splitlines()[0]
    assert command.summary.endswith(".") and len(command.summary) <= 80
    assert parser.epilog is not None and parser.epilog.count(f"\n  llmops-flows {command.name}") >= 2


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_argument_has_a_help_text(command: Command) -> None:
    _, parser = argument_parser.load(command)
    assert all(action.help for action in parser._actions)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_help_of_a_command_fits_a_terminal_of_80_columns(
    command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*command.name.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: llmops-flows {command.name} [-h]")
    assert max(map(len, text.splitlines())) <= 80


def test_the_reference_page_is_up_to_date() -> None:
    assert command_reference.PAGE.read_text() == command_reference.expected(), "run make reference"


def test_the_help_of_a_group_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "--help"]) == 0
    text = capsys.readouterr().out
    assert "usage: llmops-flows store COMMAND" in text
    assert all(f"\n  {name}" in text for name in ("evict", "stats", "verify"))


# -- commands of plugins ---------------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed distributions with a plugin that adds the commands `greet` and `check`."""
    files = {
        "greeter/__init__.py": "open('imported', 'w').close()\n",
        "greeter/greet.py": GREET,
        "greeter-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: greeter\nVersion: 1.0\n",
        "greeter-1.0.dist-info/entry_points.txt": (
            "[llmops_flows.commands]\ngreet = greeter.greet\ncheck = greeter.greet\nlost = greeter.lost\n"
        ),
    }
    for name, text in files.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "work").mkdir()
    return tmp_path / "site"


def run(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command line in an empty folder, with the plugin installed."""
    return subprocess.run(
        [sys.executable, "-m", "llmops_flows", *arguments],
        cwd=site.parent / "work", capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])},
    )  # fmt: skip


def test_a_command_of_a_plugin_runs(site: Path) -> None:
    result = run(site, "greet", "Ada", "--loud")
    assert (result.returncode, result.stdout) == (0, "HELLO ADA\n"), result.stderr
    assert "usage: llmops-flows greet [-h] [--loud] NAME" in run(site, "greet", "--help").stdout


def test_a_command_of_a_plugin_is_listed_without_importing_it(site: Path) -> None:
    assert "\n  greet    Greet someone.\n" in run(site, "--help").stdout
    assert "did you mean 'greet'?" in run(site, "gret", "Ada").stderr
    assert not (site.parent / "work" / "imported").exists()


def test_a_mistake_in_the_arguments_of_a_plugin_is_reported_like_any_other(site: Path) -> None:
    result = run(site, "greet", "Ada", "--luod")
    assert result.returncode == 2
    assert "unknown option '--luod'\n    did you mean '--loud'?" in result.stderr


def test_a_plugin_cannot_replace_a_built_in_command(site: Path) -> None:
    result = run(site, "check", "flow=chat", "model=echo")
    assert result.stdout.startswith("chat: no problems found"), result.stderr
    assert "Greet someone" not in run(site, "check", "--help").stdout
    assert run(site, "--help").stdout.count("\n  check ") == 1


def test_a_command_whose_module_cannot_be_imported_names_it(site: Path) -> None:
    result = run(site, "lost")
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "the module 'greeter.lost' cannot be imported: ModuleNotFoundError" in result.stderr
