"""JSON in answers: parse it, extract it from text, validate it against a JSON Schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from llmops_flows.core.plural import plural

JsonSchema = Mapping[str, Any]

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
_SUPPORTED = """
    type enum const properties required additionalProperties items minItems maxItems minLength maxLength pattern
    minimum maximum exclusiveMinimum exclusiveMaximum anyOf
"""
_ANNOTATIONS = "title description default examples $schema $id"
KEYWORDS = frozenset(f"{_SUPPORTED} {_ANNOTATIONS}".split())


def parse_json(text: str) -> Any:
    """The value of a JSON text. Raises ValueError for anything else, NaN and Infinity included."""

    def reject_constant(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(text, parse_constant=reject_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def extract_json(text: str) -> str | None:
    """The first JSON object or array in a text; None if it contains none."""
    decoder = json.JSONDecoder()
    for match in list(re.finditer(r"[{\[]", text))[:50]:
        try:
            _, end = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        return text[match.start() : end]
    return None


def unsupported_keywords(schema: Any, path: str = "schema") -> Iterator[str]:
    """Paths of the keywords in a JSON Schema that `schema_violations` does not support."""
    if not isinstance(schema, Mapping):
        if not isinstance(schema, bool):
            yield f"{path} must be a mapping"
        return
    yield from (f"{path}.{name}" for name in schema if name not in KEYWORDS)
    for name, inner in (schema.get("properties") or {}).items():
        yield from unsupported_keywords(inner, f"{path}.properties.{name}")
    for name in ("items", "additionalProperties"):
        if name in schema:
            yield from unsupported_keywords(schema[name], f"{path}.{name}")
    for number, inner in enumerate(schema.get("anyOf", ())):
        yield from unsupported_keywords(inner, f"{path}.anyOf.{number}")


def schema_violations(value: Any, schema: JsonSchema | bool, path: str = "$") -> Iterator[str]:
    """A message for each violation of a JSON Schema. Messages do not quote the value."""
    if isinstance(schema, bool):
        if not schema:
            yield f"{path} is not allowed"
        return
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_has_type(value, kind) for kind in kinds):
        yield f"{path} is not {' or '.join(kinds)}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path} is not one of {', '.join(map(repr, schema['enum']))}"
    if "const" in schema and value != schema["const"]:
        yield f"{path} is not {schema['const']!r}"
    if "anyOf" in schema and not any(not list(schema_violations(value, option, path)) for option in schema["anyOf"]):
        yield f"{path} does not match any alternative"
    if isinstance(value, dict):
        yield from _object(value, schema, path)
    elif isinstance(value, list):
        yield from _bounds(len(value), schema, path, "minItems", "maxItems", "item")
        for number, item in enumerate(value):
            yield from schema_violations(item, schema.get("items", True), f"{path}[{number}]")
    elif isinstance(value, str):
        yield from _bounds(len(value), schema, path, "minLength", "maxLength", "character")
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{path} does not match {schema['pattern']!r}"
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _number(value, schema, path)


def _has_type(value: Any, kind: str) -> bool:
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(kind, ())) and (kind == "boolean" or not isinstance(value, bool))


def _object(value: Mapping[str, Any], schema: JsonSchema, path: str) -> Iterator[str]:
    known = schema.get("properties", {})
    yield from (f"{path} has no {name!r}" for name in schema.get("required", ()) if name not in value)
    for name, inner in value.items():
        if name in known:
            yield from schema_violations(inner, known[name], f"{path}.{name}")
        elif "additionalProperties" in schema:
            yield from schema_violations(inner, schema["additionalProperties"], f"{path}.{name}")


def _bounds(size: int, schema: JsonSchema, path: str, minimum: str, maximum: str, unit: str) -> Iterator[str]:
    if size < schema.get(minimum, 0):
        yield f"{path} has fewer than {plural(schema[minimum], unit)}"
    if size > schema.get(maximum, size):
        yield f"{path} has more than {plural(schema[maximum], unit)}"


def _number(value: float, schema: JsonSchema, path: str) -> Iterator[str]:
    if value < schema.get("minimum", value) or value <= schema.get("exclusiveMinimum", value - 1):
        yield f"{path} is too small"
    if value > schema.get("maximum", value) or value >= schema.get("exclusiveMaximum", value + 1):
        yield f"{path} is too large"
