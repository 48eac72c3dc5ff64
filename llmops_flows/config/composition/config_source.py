"""A folder of config groups as a source for Hydra. Files are read strictly, and nothing outside the folder is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import OmegaConf

from llmops_flows.core.errors import Problem
from llmops_flows.text.suggestions import nearest

from ..files import paths, yaml_file
from ..files.paths import ROOT
from . import hydra_policy

HEADER = 512
"""How many characters Hydra reads as the header of a file, which may contain `# @package`."""


class ConfigFolder(ConfigSource):
    """`folder://PATH`. A file with problems counts as empty, so that all other files are still checked.

    `provider` is "project", "command line", "llmops_flows", or the name of a plugin. Plugins may not set `hydra.*`.
    """

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, path)
        self.root = Path(self.path)
        self.problems: dict[str, tuple[Problem, ...]] = {}
        self.dropped: dict[str, set[int]] = {}

    def __deepcopy__(self, memo: dict[int, object]) -> ConfigFolder:
        """Itself: Hydra copies the sources each time it composes, and the problems are read afterwards."""
        return self

    @staticmethod
    def scheme() -> str:
        return "folder"

    @property
    def foreign(self) -> bool:
        """Whether the files come from a plugin."""
        return self.provider not in hydra_policy.OWN

    def file(self, config_path: str) -> Path | None:
        """The path of an option; None for a name outside the folder."""
        path = PurePosixPath(config_path if config_path.endswith(".yaml") else f"{config_path}.yaml")
        if path.is_absolute() or ".." in path.parts or "\0" in str(path) or len(str(path)) > 200:
            return None
        return self.root / path

    def document(self, config_path: str) -> yaml_file.YamlDocument:
        file = self.file(config_path)
        assert file is not None
        return yaml_file.read(file)

    def load_config(self, config_path: str) -> ConfigResult:
        if not self.is_config(config_path):
            raise ConfigLoadError(f"Config not found : {config_path}")
        document = self.document(config_path)
        header: Mapping[str, str | None] = {"package": None}
        problems = list(document.problems)
        try:
            header = self._get_header_dict(document.text[:HEADER])
        except ValueError as error:
            problems.append(Problem(f"the header cannot be read: {error}", where=f"{document.name}:1"))
        if not problems:
            problems = [
                *_defaults(document, root=config_path == ROOT),
                *(_missing_from_root(document, self.root) if config_path == ROOT else ()),
                *hydra_policy.file_problems(document, header.get("package"), foreign=self.foreign),
            ]
        self.problems[config_path] = tuple(problems)
        return ConfigResult(
            provider=self.provider,
            path=f"{self.scheme()}://{self.path}",
            config=OmegaConf.create({} if problems else self._without_dropped(config_path, document.data)),
            header=dict(header),
        )

    def _without_dropped(self, config_path: str, data: dict[str, Any]) -> dict[str, Any]:
        """The data without the entries of its defaults list that have problems."""
        dropped = self.dropped.get(config_path)
        if not dropped:
            return data
        return {**data, "defaults": [item for n, item in enumerate(data["defaults"]) if n not in dropped]}

    def available(self) -> bool:
        return self.root.is_dir()

    def is_group(self, config_path: str) -> bool:
        if self.foreign and PurePosixPath(config_path).parts[:1] == ("hydra",):
            return False
        path = PurePosixPath(config_path)
        return not path.is_absolute() and ".." not in path.parts and (self.root / path).is_dir()

    def is_config(self, config_path: str) -> bool:
        file = self.file(config_path)
        hydra = PurePosixPath(config_path).parts[:1] == ("hydra",)
        try:
            return file is not None and not (self.foreign and hydra) and file.is_file()
        except OSError:
            return False

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        names: list[str] = []
        for file in sorted((self.root / config_path).iterdir()):
            if not file.name.startswith("."):
                self._list_add_result(names, f"{config_path}/{file.name}".lstrip("/"), file.name, results_filter)
        return sorted(set(names))


def _defaults(document: yaml_file.YamlDocument, *, root: bool) -> Iterator[Problem]:
    """Problems in the form of a defaults list, which Hydra reports without a line."""
    listed = document.data.get("defaults", [])
    if not isinstance(listed, list):
        yield Problem("`defaults` must be a list", key="defaults", where=_line(document, "defaults"))
        return
    if root and listed and "_self_" not in listed and len(document.data) > 1:
        typo = nearest("_self_", [item for item in listed if isinstance(item, str)])
        what = "the defaults list lacks `_self_`, which sets when the values of this file apply"
        hint = f"{typo!r}: did you mean '_self_'?" if typo else "add `- _self_`"
        yield Problem(what, "defaults", _line(document, "defaults"), hint)
    for number, item in enumerate(listed):
        where = _line(document, "defaults", str(number))
        if isinstance(item, dict) and len(item) == 1:
            [value] = item.values()
            if value is None or isinstance(value, str):
                continue
            if isinstance(value, list) and all(isinstance(v, str) for v in value):
                continue
            yield Problem(f"an option must be a name, got {value!r}", key="defaults", where=where)
        elif not isinstance(item, str):
            hint = "write `- group: option` or `- _self_`"
            yield Problem(f"{item!r} is not an entry of a defaults list", key="defaults", where=where, hint=hint)


def _missing_from_root(document: yaml_file.YamlDocument, folder: Path) -> Iterator[Problem]:
    """A problem if the root config of a project, which replaces the shipped one, lacks keys or groups of it."""
    if folder.resolve() == paths.data_dir("conf").resolve():
        return
    shipped = paths.data_dir("conf") / f"{ROOT}.yaml"
    required = yaml_file.read(shipped).data
    missing = [name for name in _groups(required) if name not in _groups(document.data)]
    missing += [name for name in required if name not in document.data]
    if missing:
        what = f"a file of this name replaces the shipped root config; it lacks {_shortened(missing)}"
        typos = [(name, nearest(name, set(document.data) - set(required))) for name in missing]
        hint = "".join(f"{typo!r}: did you mean {name!r}? " for name, typo in typos if typo)
        hint += "rename it to conf/flow/NAME.yaml or conf/GROUP/OPTION.yaml, or start from a copy of "
        hint += yaml_file.display_path(shipped)
        yield Problem(what, where=document.name, hint=hint)


def _shortened(names: list[str], limit: int = 6) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _groups(data: Mapping[str, Any]) -> list[str]:
    """The groups that a defaults list chooses from."""
    return [str(name) for item in data.get("defaults") or () if isinstance(item, dict) for name in item]


def _line(document: yaml_file.YamlDocument, *steps: str) -> str:
    node = document.node(list(steps))
    return f"{document.name}:{node[1]}" if node else document.name
