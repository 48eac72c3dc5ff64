"""A small real HTTP server on loopback that answers as it is told: status, headers, body, pieces, delay, silence.

    with StubServer(StubResponse(429, headers={"Retry-After": "1"}), StubResponse(body={"text": "hello"})) as server:
        httpx.post(server.url + "/v1/chat/completions", json={...})
    assert [asked.path for asked in server.requests] == [...]

Replies are given in order, the last one for ever after; `server.reply(...)` sets new ones. A reply may also be a
function of the request. Every server is bounded (it serves at most `limit` requests, then hangs up) and stopped by
the `with` block, whatever is still hanging in it.
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
    """A request as it arrived. `at`: time.monotonic(). `body`: decoded JSON, or the text if it is none."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    at: float


@dataclass(frozen=True)
class StubResponse:
    """What to answer.

    body: bytes or text as they are, anything else as JSON. pieces: server-sent events instead of a body, each sent
    at once as `data: PIECE` (JSON unless text), `every` seconds apart. delay: seconds before the status line.
    hang: never answer (until the server stops). cut: hang up without a word; with pieces, after the last one
    without the stream's end. stall: after the last piece, keep the connection open and say nothing more.
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
    """Answers `replies` in order, the last for ever after.

    `asked` are the requests so far; `active` how many are being answered now, `max_active` the most there ever were;
    `gone` counts clients that hung up before the answer was out.
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
        super().__init__(("127.0.0.1", 0), _Conversation)

    @property
    def url(self) -> str:
        """http://127.0.0.1:PORT"""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def reply(self, *replies: Script) -> None:
        """Answer these from now on."""
        with self._lock:
            self._replies, self._next = list(replies), 0

    def take(self, asked: ReceivedRequest) -> StubResponse:
        """Note a request, and say what to answer it."""
        with self._lock:
            self.requests.append(asked)
            self.active += 1
            self.max_active = max(self.max_active, self.active)
            if len(self.requests) > self._limit:
                return StubResponse(cut=True)
            reply = self._replies[min(self._next, len(self._replies) - 1)]
            self._next += 1
        return reply(asked) if callable(reply) else reply

    def done(self, *, gone: bool) -> None:
        """Note that a request was answered, or that its client had gone."""
        with self._lock:
            self.active -= 1
            self.disconnects += gone

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news."""

    def __enter__(self) -> StubServer:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopped.set()
        self.shutdown()
        self.server_close()


class _Conversation(BaseHTTPRequestHandler):
    server: StubServer
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        reply = self.server.take(
            ReceivedRequest(self.command, self.path, dict(self.headers.items()), _decoded(data), time.monotonic())
        )
        gone = True
        try:
            self._give(reply)
            gone = False
        except OSError:
            self.close_connection = True
        finally:
            self.server.done(gone=gone)

    do_GET = do_PUT = do_PATCH = do_DELETE = do_POST

    def _give(self, reply: StubResponse) -> None:
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
        self._head(reply, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _stream(self, reply: StubResponse) -> None:
        self._head(reply, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
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

    def _head(self, reply: StubResponse, usual: Mapping[str, str]) -> None:
        self.send_response(reply.status)
        for name, value in {**usual, **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Tests are quiet."""


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except ValueError:
        return data.decode("utf-8", "replace")


def _encoded(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()
