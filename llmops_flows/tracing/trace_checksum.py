"""The stored bytes of a trace, with a checksum that detects damage."""

from __future__ import annotations

from typing import Any

from llmops_flows.core.fingerprint import decode, digest
from llmops_flows.core.trace import from_stored

_CHECKSUM = b',"sum":"'


def with_checksum(data: bytes) -> bytes:
    """The encoded bytes of a trace with their digest as an additional field."""
    return data[:-1] + _CHECKSUM + digest(data).encode() + b'"}'


def decode_trace(data: Any) -> dict[str, Any] | None:
    """A trace from its stored bytes; None if they are damaged. Without a checksum, the trace must be readable."""
    try:
        body, mark, rest = data.rpartition(_CHECKSUM)
        if mark and digest(body + b"}").encode() + b'"}' != rest:
            return None
        trace: dict[str, Any] = decode(data)
        trace.pop("sum", None)
        from_stored(trace, {})
        return trace
    except (ValueError, AttributeError, KeyError, TypeError):
        return None
