"""JSON Schemas of option files, made from the component classes: editors complete and check the YAML by them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from llmops_flows.core.stage import Part

from .experiment import RunSettings
from .field_errors import TARGET

DRAFT = "https://json-schema.org/draft/2020-12/schema"
FOLDER = ".schemas"
PARTS, FLOW, SEARCH = "parts.json", "flow.json", "search.json"
REFERENCE = {"$ref": "#/$defs/reference"}
_REFERENCE = {
    "type": "string",
    "pattern": r"\$\{|^\?\?\?$",
    "description": "${another.key}, or ??? for: must be given",
}
_ATTRIBUTE = re.compile(r"^ {4}([a-z_]\w*(?:, [a-z_]\w*)*): (.*(?:\n {8,}.*)*)", re.MULTILINE)
_DEFAULTS = {"type": "array", "items": {"type": ["string", "object"]}, "description": "Hydra's defaults list"}


class _Schemas(GenerateJsonSchema):
    """Components within a component are told apart by their own `_target_`; what JSON cannot say is left open."""

    def model_schema(self, schema: Any) -> dict[str, Any]:
        found = super().model_schema(schema)
        return {"type": "object"} if issubclass(schema["cls"], Part) else found

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        return {}


def component_schema(cls: type[Part]) -> dict[str, Any]:
    """The schema of an option file that names this class by `_target_`."""
    found = _model(cls)
    properties = {TARGET: {"const": f"{cls.__module__}.{cls.__qualname__}"}, "defaults": _DEFAULTS}
    return _whole(cls.__name__, {**properties, **found["properties"]}, cls, found["$defs"])


def parts_schema(classes: Iterable[type[Part]]) -> dict[str, Any]:
    """The schema of a file that maps names to components (guardrails, evaluators, tracers)."""
    targets = [f"{cls.__module__}.{cls.__qualname__}" for cls in classes]
    chosen = [
        {"if": {"properties": {TARGET: {"const": name}}, "required": [TARGET]}, "then": {"$ref": f"{name}.json"}}
        for name in targets
    ]
    part = {"type": "object", "allOf": chosen}
    value = {"anyOf": [{"type": "null"}, REFERENCE, part]}
    return {
        "$schema": DRAFT,
        "type": "object",
        "properties": {"defaults": _DEFAULTS},
        "additionalProperties": value,
        "$defs": {"reference": _REFERENCE},
    }


def flow_schema(groups: Iterable[str]) -> dict[str, Any]:
    """The schema of a flow, of a debug file and of the root config: the settings, the stages and these groups."""
    found = _model(RunSettings)
    open_ = {group: {"type": ["object", "null", "string"]} for group in (*groups, "stages", "hydra")}
    return _whole("Flow", {"defaults": _DEFAULTS, **found["properties"], **open_}, RunSettings, found["$defs"])


def settings_schema(title: str, cls: type[BaseModel]) -> dict[str, Any]:
    """The schema of a file that holds the settings of a class, such as those of a search."""
    schema = _model(cls)
    return _whole(title, {"defaults": _DEFAULTS, **schema["properties"]}, cls, schema["$defs"])


def _whole(title: str, properties: Mapping[str, Any], cls: type, definitions: Mapping[str, Any]) -> dict[str, Any]:
    about = (inspect.getdoc(cls) or "").partition("\n\n")[0].replace("\n", " ")
    head = {"$schema": DRAFT, "title": title, "description": about, "type": "object"}
    return {**head, "properties": dict(properties), "additionalProperties": False, "$defs": dict(definitions)}


def _model(cls: type[BaseModel]) -> dict[str, Any]:
    """pydantic's schema of a model, in which every value may be an interpolation and none need be given."""
    fields = {name: (field.annotation, field) for name, field in cls.model_fields.items()}
    raw = _fields(cls, fields)
    definitions = {name: _loose(found) for name, found in raw.pop("$defs", {}).items()}
    told = _told(cls)
    properties: dict[str, dict[str, Any]] = {}
    for name, found in raw["properties"].items():
        found.pop("title", None)
        properties[name] = {"anyOf": [_loose(found), REFERENCE]}
        if name in told:
            properties[name]["description"] = told[name]
    return {"properties": properties, "$defs": {"reference": _REFERENCE, **definitions}}


def _fields(cls: type[BaseModel], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of the class itself; `_Schemas` would leave a component open, so its fields are looked at alone."""
    from pydantic import create_model

    bare: Any = create_model(cls.__name__, **fields)
    return dict(bare.model_json_schema(schema_generator=_Schemas, mode="validation"))


def _loose(found: Any) -> Any:
    """A schema in which nothing is required and every field of an inner model may be null or an interpolation."""
    if isinstance(found, list):
        return [_loose(inner) for inner in found]
    if not isinstance(found, dict):
        return found
    made = {key: _loose(inner) for key, inner in found.items() if key not in ("required", "default", "title")}
    if isinstance(found.get("properties"), dict):
        made["properties"] = {
            name: {"anyOf": [_loose(inner), {"type": "null"}, REFERENCE]} for name, inner in found["properties"].items()
        }
    return made


def _told(cls: type) -> dict[str, str]:
    """What the docstrings of a class and of those above it say about its fields."""
    told: dict[str, str] = {}
    for above in reversed(cls.__mro__):
        text = inspect.cleandoc(above.__doc__ or "") if issubclass(above, BaseModel) else ""
        for names, about in _ATTRIBUTE.findall(text.partition("Attributes:\n")[2]):
            told |= {name: " ".join(about.split()) for name in names.split(", ")}
    return told


def component_classes(targets: Sequence[str]) -> list[type[Part]]:
    """The classes behind the targets of shipped files."""
    from importlib import import_module

    return [getattr(import_module(t.rpartition(".")[0]), t.rpartition(".")[2]) for t in targets]
