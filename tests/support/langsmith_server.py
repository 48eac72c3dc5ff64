"""A LangSmith server on loopback that stores what it receives, and fails on demand."""

from __future__ import annotations

import email.parser
import email.policy
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Behavior = Literal["well", "hang", "slow", "429", "500", "401", "picky"]


class FakeLangSmith:
    """The received runs and feedback.

    Attributes:
        behavior: well; hang (never respond); slow (a second for each response); an HTTP status; picky (422 for each
            request with the word `poison`).
        multipart: False responds with 404 to /runs/multipart, as old servers do.
        runs, feedback: by id.
        posts: how often each run was sent.
        bodies, headers: of each request.
        over: set to end hanging requests.
    """

    def __init__(self) -> None:
        self.behavior: Behavior = "well"
        self.multipart = True
        self.runs: dict[str, dict[str, Any]] = {}
        self.posts: Counter[str] = Counter()
        self.feedback: dict[str, dict[str, Any]] = {}
        self.projects: dict[str, str] = {}
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""
        self.over = threading.Event()

    def roots(self) -> list[dict[str, Any]]:
        return [run for run in self.runs.values() if not run.get("parent_run_id")]

    def children(self, root: dict[str, Any]) -> dict[str, dict[str, Any]]:
        runs = [run for run in self.runs.values() if run.get("parent_run_id") == root["id"]]
        return {run["name"]: run for run in sorted(runs, key=lambda run: run["dotted_order"])}

    # -- the protocol ----------------------------------------------------------------------------------------------

    def receive(self, path: str, kind: str, body: bytes) -> tuple[int, Any]:
        if path == "/runs/multipart":
            return self._multipart(kind, body) if self.multipart else (404, {"detail": "no such endpoint"})
        data = json.loads(body)
        if path == "/runs/batch":
            for run in data.get("post", []):
                self._store_run(run)
            return 202, {}
        if path == "/runs":
            self._store_run(data)
            return 202, {}
        if path.startswith("/runs/"):
            self.runs.setdefault(path.rpartition("/")[2], {}).update(data)
            return 202, {}
        if path == "/feedback":
            self.feedback[data["id"]] = data
            return 200, data
        if path == "/sessions":
            name = data["name"]
            return 200, {
                "id": self.projects.setdefault(name, str(uuid.uuid4())), "name": name, "tenant_id": str(uuid.uuid4()),
                "reference_dataset_id": None, "start_time": "2026-01-01T00:00:00+00:00",
            }  # fmt: skip
        return 404, {"detail": path}

    def _multipart(self, kind: str, body: bytes) -> tuple[int, Any]:
        head = f"Content-Type: {kind}\r\n\r\n".encode()
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        runs: dict[str, dict[str, Any]] = {}
        for part in message.iter_parts():  # type: ignore[attr-defined]
            name = part.get_param("name", header="content-disposition")
            value = json.loads(part.get_payload(decode=True))
            operation, _, rest = name.partition(".")
            id, _, field = rest.partition(".")
            if operation == "feedback":
                self.feedback[id] = value
            elif field:
                runs[id][field] = value
            else:
                runs[id] = value
        for run in runs.values():
            self._store_run(run)
        return 202, {"message": "Runs batch ingested"}

    def _store_run(self, run: dict[str, Any]) -> None:
        self.posts[run["id"]] += 1
        self.runs[run["id"]] = run


@contextmanager
def fake_langsmith(langsmith: FakeLangSmith | None = None) -> Iterator[FakeLangSmith]:
    """A server on a free port until the end of the block."""
    langsmith = langsmith or FakeLangSmith()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Do not log."""

        def do_GET(self) -> None:
            info = {"version": "0.15.0", "batch_ingest_config": {"use_multipart_endpoint": True},
                    "instance_flags": {"zstd_compression_enabled": True}}  # fmt: skip
            self._answer(200, info if self.path.startswith("/info") else {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "zstd":
                import zstandard

                body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
            langsmith.bodies.append(body)
            langsmith.headers.append(dict(self.headers))
            if langsmith.behavior == "hang":
                langsmith.over.wait()
                return
            if langsmith.behavior == "slow":
                time.sleep(1.0)
            if langsmith.behavior.isdigit():
                self._answer(int(langsmith.behavior), {"detail": "no"})
            elif langsmith.behavior == "picky" and b"poison" in body:
                self._answer(422, {"detail": "cannot be read"})
            else:
                path = self.path.partition("?")[0]
                self._answer(*langsmith.receive(path, self.headers.get("Content-Type") or "", body))

        do_PATCH = do_POST

        def _answer(self, status: int, value: Any) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    langsmith.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield langsmith
    finally:
        langsmith.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
