"""What a service's exception means, whichever client raised it: its status, when to try again, and no secrets."""

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
"""The status that an error would have had, had it come before the stream began."""
_UNREACHABLE = ("APIConnectionError", "TransportError", "ConnectionError", "TimeoutError", "gaierror", "ClientError")
_ADVICE = {
    401: "; look at the key in the environment variable that api_key_env names",
    404: "; look at the model's name and base_url",
}
_NO_QUOTA = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "credit balance is too low")
_LONGEST = 500


def backend_error(error: Exception, who: str, *, began: bool = False) -> BackendError:
    """A client's exception as a BackendError that names the model `who`; `began`: it had said something already.

    The exceptions of OpenAI's, Anthropic's and most other clients say `status_code`, `response.headers` and `body`;
    those that say nothing of it are told by their class. Chain it `from None`: the original may hold the key.
    """
    status, said = _status(error), redact(_said(error))[:_LONGEST].strip()
    if status:
        return BackendError(
            f"{who} answered {status}: {said}{_ADVICE.get(status, '')}",
            status=status,
            retry_after=parse_retry_after(_headers(error).get("retry-after")),
            retryable=_passes(status, f"{said} {_body(error).get('code')} {_body(error).get('type')}"),
            began=began or not _http(error),
        )
    if _is(error, _UNREACHABLE):
        what = f"the answer of {who} broke off" if began else f"{who} could not be reached"
        return BackendError(f"{what}: {said or type(error).__name__}", retryable=True)
    if isinstance(error, ValueError) and type(error).__name__ == "JSONDecodeError":
        return BackendError(f"{who} sent what cannot be read: {said}", retryable=True)
    return BackendError(f"{who} failed: {type(error).__name__}: {said}", kind=type(error).__name__)


def _status(error: Exception) -> int:
    """The HTTP status; for an error in the middle of a stream (whose status was 200) the one its kind stands for."""
    if found := _http(error):
        return found
    body = _body(error)
    if isinstance(body.get("code"), int) and 400 <= body["code"] < 600:
        return int(body["code"])
    return _STREAMED.get(str(body.get("type") or body.get("code")), 500 if body else 0)


def _http(error: Exception) -> int:
    """The HTTP status of a service that refused the call; 0: it did not."""
    found = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    return found if isinstance(found, int) and found >= 400 else 0


def _headers(error: Exception) -> Mapping[str, str]:
    found: Any = getattr(getattr(error, "response", None), "headers", None)
    return {str(k).lower(): str(v) for k, v in found.items()} if hasattr(found, "items") else {}


def _body(error: Exception) -> Mapping[str, Any]:
    """The service's own description of the error: {"type", "message", "code"}."""
    body = getattr(error, "body", None)
    if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping):
        body = body["error"]
    return body if isinstance(body, Mapping) else {}


def _said(error: Exception) -> str:
    return str(_body(error).get("message") or getattr(error, "message", "") or error)


def _passes(status: int, said: str) -> bool:
    """Whether another try can help. What is used up of the account's money does not come back by waiting."""
    if any(mark in said.lower() for mark in _NO_QUOTA):
        return False
    return status in (408, 409, 425, 429) or (status >= 500 and status not in (501, 505))


def _is(error: Exception, names: tuple[str, ...]) -> bool:
    """Whether the class, or one that it derives from, has one of the names (of any library)."""
    return any(cls.__name__ in names for cls in type(error).__mro__)
