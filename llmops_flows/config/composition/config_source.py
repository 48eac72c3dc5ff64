"""A folder of options as Hydra sees it: every file is read strictly, and nothing outside the folder is reached."""

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
"""How much of a file Hydra reads as its header: `# @package` must stand in it."""


class ConfigFolder(ConfigSource):
    """`folder://PATH`. A file with faults counts as empty, so that everything else can still be looked at.

    `provider` is "project", "command line", "llmops_flows", or the name of a plugin, which may not touch Hydra.
    """

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, path)
        self.root = Path(self.path)
        self.problems: dict[str, tuple[Problem, ...]] = {}
        self.dropped: dict[str, set[int]] = {}

    def __deepcopy__(self, memo: dict[int, object]) -> ConfigFolder:
        """Hydra copies the sources for every composing; what they found is asked for afterwards."""
        return self

    @staticmethod
    def scheme() -> str:
        return "folder"

    @property
    def foreign(self) -> bool:
        """Whether the files come from a plugin."""
        return self.provider not in hydra_policy.OWN

    def file(self, config_path: str) -> Path | None:
        """Where an option lies; None for a name that leads out of the folder."""
        path = PurePosixPath(config_path if config_path.endswith(".yaml") else f"{config_path}.yaml")
        if path.is_absolute() or ".." in path.parts or "\0" in str(path) or len(str(path)) > 200:
            return None
        return self.root / path

    def page(self, config_path: str) -> yaml_file.YamlDocument:
        file = self.file(config_path)
        assert file is not None
        return yaml_file.read(file)

    def load_config(self, config_path: str) -> ConfigResult:
        if not self.is_config(config_path):
            raise ConfigLoadError(f"Config not found : {config_path}")
        page = self.page(config_path)
        header: Mapping[str, str | None] = {"package": None}
        problems = list(page.problems)
        try:
            header = self._get_header_dict(page.text[:HEADER])
        except ValueError as error:
            problems.append(Problem(f"the header cannot be read: {error}", where=f"{page.name}:1"))
        if not problems:
            problems = [
                *_defaults(page, root=config_path == ROOT),
                *(_lacks(page, self.root) if config_path == ROOT else ()),
                *hydra_policy.file_problems(page, header.get("package"), foreign=self.foreign),
            ]
        self.problems[config_path] = tuple(problems)
        return ConfigResult(
            provider=self.provider,
            path=f"{self.scheme()}://{self.path}",
            config=OmegaConf.create({} if problems else self._kept(config_path, page.data)),
            header=dict(header),
        )

    def _kept(self, config_path: str, data: dict[str, Any]) -> dict[str, Any]:
        """The data without the entries of its defaults list that are known to be wrong."""
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
        found: list[str] = []
        for file in sorted((self.root / config_path).iterdir()):
            if not file.name.startswith("."):
                self._list_add_result(found, f"{config_path}/{file.name}".lstrip("/"), file.name, results_filter)
        return sorted(set(found))


def _defaults(page: yaml_file.YamlDocument, *, root: bool) -> Iterator[Problem]:
    """What is wrong with the form of a defaults list, which Hydra tells without a line."""
    listed = page.data.get("defaults", [])
    if not isinstance(listed, list):
        yield Problem("`defaults` must be a list", key="defaults", where=_line(page, "defaults"))
        return
    if root and listed and "_self_" not in listed and len(page.data) > 1:
        slip = nearest("_self_", [item for item in listed if isinstance(item, str)])
        what = "the list does not say when the file's own values count"
        hint = f"{slip!r}: did you mean '_self_'?" if slip else "add `- _self_`"
        yield Problem(what, "defaults", _line(page, "defaults"), hint)
    for number, item in enumerate(listed):
        where = _line(page, "defaults", str(number))
        if isinstance(item, dict) and len(item) == 1:
            [value] = item.values()
            if value is None or isinstance(value, str):
                continue
            if isinstance(value, list) and all(isinstance(v, str) for v in value):
                continue
            yield Problem(f"an option is named by text, not by {value!r}", key="defaults", where=where)
        elif not isinstance(item, str):
            hint = "write `- group: option` or `- _self_`"
            yield Problem(f"{item!r} is no entry of a defaults list", key="defaults", where=where, hint=hint)


def _lacks(page: yaml_file.YamlDocument, folder: Path) -> Iterator[Problem]:
    """What a root config of somebody's own lacks: it takes the shipped one's place, whatever it was meant for."""
    if folder.resolve() == paths.data_dir("conf").resolve():
        return
    shipped = paths.data_dir("conf") / f"{ROOT}.yaml"
    wanted = yaml_file.read(shipped).data
    missing = [name for name in _groups(wanted) if name not in _groups(page.data)]
    missing += [name for name in wanted if name not in page.data]
    if missing:
        what = f"a file of this name is the root config, in place of the shipped one; it lacks {_few(missing)}"
        own = "what is yours goes into conf/flow/NAME.yaml or conf/GROUP/OPTION.yaml"
        hint = f"rename it: {own}; or begin with a copy of {yaml_file.display_path(shipped)}"
        yield Problem(what, where=page.name, hint=hint)


def _few(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _groups(data: Mapping[str, Any]) -> list[str]:
    """The groups that a defaults list chooses from."""
    return [str(name) for item in data.get("defaults") or () if isinstance(item, dict) for name in item]


def _line(page: yaml_file.YamlDocument, *steps: str) -> str:
    found = page.node(list(steps))
    return f"{page.name}:{found[1]}" if found else page.name
