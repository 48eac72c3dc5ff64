"""Generates JSON Schemas of option files from the component classes, for completion and checks in editors."""

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
    "description": "${another.key}, or ??? for a required value",
}
_ATTRIBUTE = re.compile(r"^ {4}([a-z_]\w*(?:, [a-z_]\w*)*): (.*(?:\n {8,}.*)*)", re.MULTILINE)
_DEFAULTS = {"type": "array", "items": {"type": ["string", "object"]}, "description": "Hydra's defaults list"}


class _Schemas(GenerateJsonSchema):
    """Accepts any object for a component within a component, and anything for a type that JSON Schema lacks."""

    def model_schema(self, schema: Any) -> dict[str, Any]:
        return {"type": "object"} if issubclass(schema["cls"], Part) else super().model_schema(schema)

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        return {}


def component_schema(cls: type[Part]) -> dict[str, Any]:
    """The schema of an option file that names this class by `_target_`."""
    schema = _model(cls)
    properties = {TARGET: {"const": f"{cls.__module__}.{cls.__qualname__}"}, "defaults": _DEFAULTS}
    return _document(cls.__name__, {**properties, **schema["properties"]}, cls, schema["$defs"])


def parts_schema(classes: Iterable[type[Part]]) -> dict[str, Any]:
    """The schema of a file that maps names to components (guardrails, evaluators, tracers)."""
    targets = [f"{cls.__module__}.{cls.__qualname__}" for cls in classes]
    conditions = [
        {"if": {"properties": {TARGET: {"const": name}}, "required": [TARGET]}, "then": {"$ref": f"{name}.json"}}
        for name in targets
    ]
    part = {"type": "object", "allOf": conditions}
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
    schema = _model(RunSettings)
    group_schemas = {group: {"type": ["object", "null", "string"]} for group in (*groups, "stages", "hydra")}
    properties = {"defaults": _DEFAULTS, **schema["properties"], **group_schemas}
    return _document("Flow", properties, RunSettings, schema["$defs"])


def settings_schema(title: str, cls: type[BaseModel]) -> dict[str, Any]:
    """The schema of a file that holds the settings of a class, such as those of a search."""
    schema = _model(cls)
    return _document(title, {"defaults": _DEFAULTS, **schema["properties"]}, cls, schema["$defs"])


def _document(title: str, properties: Mapping[str, Any], cls: type, definitions: Mapping[str, Any]) -> dict[str, Any]:
    summary = (inspect.getdoc(cls) or "").partition("\n\n")[0].replace("\n", " ")
    head = {"$schema": DRAFT, "title": title, "description": summary, "type": "object"}
    return {**head, "properties": dict(properties), "additionalProperties": False, "$defs": dict(definitions)}


def _model(cls: type[BaseModel]) -> dict[str, Any]:
    """pydantic's schema of a model, in which every value may be an interpolation and none is required."""
    fields = {name: (field.annotation, field) for name, field in cls.model_fields.items()}
    raw = _fields(cls, fields)
    definitions = {name: _relaxed(schema) for name, schema in raw.pop("$defs", {}).items()}
    descriptions = _field_descriptions(cls)
    properties: dict[str, dict[str, Any]] = {}
    for name, schema in raw["properties"].items():
        schema.pop("title", None)
        properties[name] = {"anyOf": [_relaxed(schema), REFERENCE]}
        if name in descriptions:
            properties[name]["description"] = descriptions[name]
    return {"properties": properties, "$defs": {"reference": _REFERENCE, **definitions}}


def _fields(cls: type[BaseModel], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of the class itself. A bare copy is used, since `_Schemas` accepts any object for a component."""
    from pydantic import create_model

    bare: Any = create_model(cls.__name__, **fields)
    return dict(bare.model_json_schema(schema_generator=_Schemas, mode="validation"))


def _relaxed(schema: Any) -> Any:
    """A schema in which nothing is required and every field of an inner model may be null or an interpolation."""
    if isinstance(schema, list):
        return [_relaxed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    relaxed = {key: _relaxed(value) for key, value in schema.items() if key not in ("required", "default", "title")}
    if isinstance(schema.get("properties"), dict):
        relaxed["properties"] = {
            name: {"anyOf": [_relaxed(field), {"type": "null"}, REFERENCE]}
            for name, field in schema["properties"].items()
        }
    return relaxed


def _field_descriptions(cls: type) -> dict[str, str]:
    """Field to description, from the docstrings of a class and of its base classes."""
    descriptions: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        text = inspect.cleandoc(base.__doc__ or "") if issubclass(base, BaseModel) else ""
        for names, description in _ATTRIBUTE.findall(text.partition("Attributes:\n")[2]):
            descriptions |= {name: " ".join(description.split()) for name in names.split(", ")}
    return descriptions


def component_classes(targets: Sequence[str]) -> list[type[Part]]:
    """The classes that targets of shipped files name."""
    from importlib import import_module

    return [getattr(import_module(t.rpartition(".")[0]), t.rpartition(".")[2]) for t in targets]
