"""A trace as the bytes that are kept of it: they show whether they are as they were written."""

from __future__ import annotations

from typing import Any

from llmops_flows.core.fingerprint import decode, digest
from llmops_flows.core.trace import from_stored

_SUM = b',"sum":"'


def summed(data: bytes) -> bytes:
    """The encoded bytes of a trace with their digest as one more field."""
    return data[:-1] + _SUM + digest(data).encode() + b'"}'


def trace_of(data: Any) -> dict[str, Any] | None:
    """A trace from its bytes; None if they are damaged. Traces that were written without a digest must make sense."""
    try:
        body, mark, rest = data.rpartition(_SUM)
        if mark and digest(body + b"}").encode() + b'"}' != rest:
            return None
        found: dict[str, Any] = decode(data)
        found.pop("sum", None)
        from_stored(found, {})
        return found
    except (ValueError, AttributeError, KeyError, TypeError):
        return None
