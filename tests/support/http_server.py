"""A real HTTP server on loopback with scripted responses.

    reply = StubResponse(429, headers={"Retry-After": "1"})
    with StubServer(reply, StubResponse(body={"text": "hello"})) as server:
        httpx.post(server.url + "/v1/chat/completions", json={...})
    assert [request.path for request in server.requests] == [...]

Responses are sent in order, and the last one from then on. A response may also be a function of the request. A server
responds to at most `limit` requests and then hangs up. The end of the `with` block ends every open connection.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class ReceivedRequest:
    """A request. `at` is `time.monotonic()`; `body` is decoded JSON, or the text of any other body."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    at: float


@dataclass(frozen=True)
class StubResponse:
    """A response.

    Attributes:
        body: bytes or text, or a value that is sent as JSON.
        pieces: server-sent events instead of a body, each sent as `data: PIECE` (JSON unless text).
        every: seconds between pieces.
        delay: seconds before the status line.
        hang: never respond.
        cut: hang up without a response; with pieces, after the last one without the end of the stream.
        stall: keep the connection open after the last piece.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = ""
    pieces: Sequence[Any] | None = None
    every: float = 0.0
    delay: float = 0.0
    hang: bool = False
    cut: bool = False
    stall: bool = False


Script = StubResponse | Callable[[ReceivedRequest], StubResponse]


class StubServer(ThreadingHTTPServer):
    """Sends `replies` in order, and the last one from then on.

    Attributes:
        requests: the requests so far.
        active, max_active: the number of requests in progress, now and at most.
        disconnects: how many clients hung up before the end of the response.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, *replies: Script, limit: int = 2_000) -> None:
        self.requests: list[ReceivedRequest] = []
        self.active = self.max_active = self.disconnects = 0
        self.stopped = threading.Event()
        self._limit = limit
        self._lock = threading.Lock()
        self.reply(*(replies or (StubResponse(),)))
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """http://127.0.0.1:PORT"""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def reply(self, *replies: Script) -> None:
        """Send these from now on."""
        with self._lock:
            self._replies, self._next = list(replies), 0

    def receive(self, request: ReceivedRequest) -> StubResponse:
        """Record a request, and return its response."""
        with self._lock:
            self.requests.append(request)
            self.active += 1
            self.max_active = max(self.max_active, self.active)
            if len(self.requests) > self._limit:
                return StubResponse(cut=True)
            reply = self._replies[min(self._next, len(self._replies) - 1)]
            self._next += 1
        return reply(request) if callable(reply) else reply

    def finish(self, *, disconnected: bool) -> None:
        """Record the end of a response, or that the client has hung up."""
        with self._lock:
            self.active -= 1
            self.disconnects += disconnected

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that hang up."""

    def __enter__(self) -> StubServer:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopped.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: StubServer
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        reply = self.server.receive(
            ReceivedRequest(self.command, self.path, dict(self.headers.items()), _decoded(data), time.monotonic())
        )
        disconnected = True
        try:
            self._respond(reply)
            disconnected = False
        except OSError:
            self.close_connection = True
        finally:
            self.server.finish(disconnected=disconnected)

    do_GET = do_PUT = do_PATCH = do_DELETE = do_POST

    def _respond(self, reply: StubResponse) -> None:
        if reply.delay:
            self.server.stopped.wait(reply.delay)
        if reply.hang:
            self.server.stopped.wait()
        if reply.hang or self.server.stopped.is_set() or (reply.cut and reply.pieces is None):
            self.close_connection = True
            return
        if reply.pieces is not None:
            self._stream(reply)
            return
        body = _encoded(reply.body)
        self._send_headers(reply, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _stream(self, reply: StubResponse) -> None:
        self._send_headers(reply, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
        for piece in reply.pieces or ():
            self._chunk(f"data: {piece if isinstance(piece, str) else json.dumps(piece)}\n\n".encode())
            if reply.every and self.server.stopped.wait(reply.every):
                break
        if reply.stall:
            self.server.stopped.wait()
        if reply.cut or reply.stall:
            self.close_connection = True
        else:
            self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _send_headers(self, reply: StubResponse, defaults: Mapping[str, str]) -> None:
        self.send_response(reply.status)
        for name, value in {**defaults, **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Do not log."""


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except ValueError:
        return data.decode("utf-8", "replace")


def _encoded(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()
