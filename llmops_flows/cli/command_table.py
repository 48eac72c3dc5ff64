"""Finds the commands without importing them: the modules of `cli.commands`, and those that plugins add."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from llmops_flows.config.files import plugins
from llmops_flows.core.errors import ConfigError, Problem

_BUILT_IN = "llmops_flows.cli.commands"
_SUMMARY = re.compile(r'\A(?:\s*+#.*\n)*+\s*+[rR]?"""(.*?)(?:"""|\n)')


@dataclass(frozen=True)
class Command:
    """`name`: as typed, such as `store evict`.

    `module` has a docstring, `add_arguments(parser)` and `main(arguments)`, which returns the exit code. A package is a
    group of commands, which are its modules.
    """

    name: str
    module: str

    @property
    def summary(self) -> str:
        """The first line of the module's docstring, read from its file; empty if it cannot be read."""
        for file in _files(self.module):
            with open(file, encoding="utf-8", errors="replace") as text:
                match = _SUMMARY.match(text.read(1000))
                return match[1].strip() if match else ""
        return ""

    def subcommands(self) -> dict[str, Command]:
        """The commands of a group; empty for a command."""
        file = next(_files(self.module), None)
        if file is None or file.name != "__init__.py":
            return {}
        names = sorted(path.stem for path in file.parent.iterdir() if not path.name.startswith(("_", ".")))
        return {name: Command(f"{self.name} {name}".strip(), f"{self.module}.{name}") for name in names}

    def load(self) -> ModuleType:
        """Import the module. Raises ConfigError: the module of a plugin cannot be imported."""
        try:
            return import_module(self.module)
        except Exception as error:
            if self.module.startswith(_BUILT_IN):
                raise
            cause = f"{type(error).__name__}: {error}"
            hint = "repair or uninstall the plugin that adds this command"
            raise ConfigError(
                Problem(f"the module {self.module!r} cannot be imported: {cause}", f"command {self.name!r}", hint=hint)
            ) from error


def built_in() -> dict[str, Command]:
    return Command("", _BUILT_IN).subcommands()


def commands() -> dict[str, Command]:
    """Every command by name. A plugin cannot replace a built-in command."""
    added = {name: Command(name, module) for name, module in plugins.commands().items()}
    return dict(sorted((added | built_in()).items()))


def find(name: str) -> Command | None:
    """The command of that name. Plugins are searched only when no built-in command has it."""
    return built_in().get(name) or commands().get(name)


def _files(module: str) -> Iterator[Path]:
    """The files that may hold a module, found without importing its parent packages."""
    package, *names = module.split(".")
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None:
        return
    for folder in spec.submodule_search_locations or ([str(Path(spec.origin).parent)] if spec.origin else []):
        path = Path(folder, *names)
        candidates = [path / "__init__.py"] if not names else [path.with_suffix(".py"), path / "__init__.py"]
        yield from (file for file in candidates if file.is_file())
