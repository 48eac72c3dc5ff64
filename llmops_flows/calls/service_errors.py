"""Converts the exceptions of service clients to BackendError, with status, Retry-After and redacted message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_flows.core.errors import BackendError
from llmops_flows.core.redaction import redact

from .retry import parse_retry_after

_STREAMED = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Type of an error within a stream to its HTTP status."""
_UNREACHABLE = ("APIConnectionError", "TransportError", "ConnectionError", "TimeoutError", "gaierror", "ClientError")
_HINTS = {
    401: "; check the key in the environment variable that api_key_env names",
    404: "; check the model's name and base_url",
}
_NO_QUOTA = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "credit balance is too low")
_MAX_LENGTH = 500


def backend_error(error: Exception, model: str, *, began: bool = False) -> BackendError:
    """A client's exception as a BackendError with the name of the model. `began`: a part of the answer had arrived.

    The exceptions of OpenAI's, Anthropic's and most other clients have `status_code`, `response.headers` and `body`;
    others are recognized by their class. Raise it `from None`: the original may contain the key.
    """
    status, message = _status(error), redact(_message(error))[:_MAX_LENGTH].strip()
    if status:
        return BackendError(
            f"{model} answered {status}: {message}{_HINTS.get(status, '')}",
            status=status,
            retry_after=parse_retry_after(_headers(error).get("retry-after")),
            retryable=_is_temporary(status, f"{message} {_body(error).get('code')} {_body(error).get('type')}"),
            began=began or not _http(error),
        )
    if _is(error, _UNREACHABLE):
        what = f"the answer of {model} was interrupted" if began else f"{model} could not be reached"
        return BackendError(f"{what}: {message or type(error).__name__}", retryable=True)
    if isinstance(error, ValueError) and type(error).__name__ == "JSONDecodeError":
        return BackendError(f"{model} sent JSON that cannot be read: {message}", retryable=True)
    return BackendError(f"{model} failed: {type(error).__name__}: {message}", kind=type(error).__name__)


def _status(error: Exception) -> int:
    """The HTTP status. An error within a stream, whose HTTP status is 200, has the status of its type."""
    if status := _http(error):
        return status
    body = _body(error)
    if isinstance(body.get("code"), int) and 400 <= body["code"] < 600:
        return int(body["code"])
    return _STREAMED.get(str(body.get("type") or body.get("code")), 500 if body else 0)


def _http(error: Exception) -> int:
    """The HTTP status of an error response; 0 if the exception has none."""
    status = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) and status >= 400 else 0


def _headers(error: Exception) -> Mapping[str, str]:
    headers: Any = getattr(getattr(error, "response", None), "headers", None)
    return {str(k).lower(): str(v) for k, v in headers.items()} if hasattr(headers, "items") else {}


def _body(error: Exception) -> Mapping[str, Any]:
    """The service's description of the error: {"type", "message", "code"}."""
    body = getattr(error, "body", None)
    if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping):
        body = body["error"]
    return body if isinstance(body, Mapping) else {}


def _message(error: Exception) -> str:
    return str(_body(error).get("message") or getattr(error, "message", "") or error)


def _is_temporary(status: int, text: str) -> bool:
    """Whether a retry can help. A retry does not help against an exhausted quota."""
    if any(mark in text.lower() for mark in _NO_QUOTA):
        return False
    return status in (408, 409, 425, 429) or (status >= 500 and status not in (501, 505))


def _is(error: Exception, names: tuple[str, ...]) -> bool:
    """Whether the class or one of its base classes has one of the names."""
    return any(cls.__name__ in names for cls in type(error).__mro__)
