"""`model=llamacpp`: a GGUF file that llama.cpp runs in this process (xllamacpp)."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from llmops_flows.artifacts.lazy_import import load
from llmops_flows.artifacts.resources import shared
from llmops_flows.core.errors import BackendError, DeadlineExceeded, FlowError
from llmops_flows.core.record import Message, Usage
from llmops_flows.core.roles import Model
from llmops_flows.core.stage import OPERATIONAL, Call, Outcome, Part, Positive

from .streaming import StreamedAnswer, finish_answer

_BATCH_TOKENS = 64
"""Prompt tokens per batch. A call can be cancelled between batches. On a CPU, this is as fast as 2,048."""


class ServerSlots:
    """A llama.cpp server in this process, with a semaphore for its slots."""

    def __init__(self, server: Any, slots: int) -> None:
        self.server = server
        self._free = threading.Semaphore(slots)

    @contextmanager
    def slot(self, check: Callable[[], None]) -> Iterator[Any]:
        """The server, once a slot is free. `check` is called while waiting, and raises an error to stop waiting."""
        while not self._free.acquire(timeout=0.1):
            check()
        try:
            yield self.server
        finally:
            self._free.release()


class LlamaServer(Part):
    """A loaded GGUF file, shared by models that differ only in sampling.

    Attributes:
        weights: digest or version of the file's content, which identifies it instead of its path.
    """

    file: Annotated[Path, OPERATIONAL]
    weights: str
    context: int
    slots: int
    threads: int | None
    gpu_layers: int

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        return {**self.model_dump(mode="json", exclude={"file"}), "class": "Engine"}

    def running(self) -> ServerSlots:
        """The server of this process, loaded on the first call. A forked process loads its own."""
        return shared(self, self._load, name=str(os.getpid()))

    def _load(self) -> ServerSlots:
        xllamacpp = load("xllamacpp", LlamaCpp.extra, "model=llamacpp")
        params = xllamacpp.CommonParams()
        params.model.path = str(self.file)
        params.model_alias = {self.file.stem}
        params.n_ctx, params.n_parallel = self.context * self.slots, self.slots
        params.n_batch = params.n_ubatch = _BATCH_TOKENS
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self.threads or _cores()
        params.cpuparams.poll = params.cpuparams_batch.poll = 0
        params.warmup, params.verbosity, params.n_gpu_layers = False, -1, self.gpu_layers
        params.api_keys = [os.urandom(16).hex()]  # protects its HTTP port, which cannot be closed
        try:
            return ServerSlots(xllamacpp.Server(params), self.slots)
        except RuntimeError as error:
            raise BackendError(f"llama.cpp cannot load {str(self.file)!r}: {self._load_problem()}") from error

    def _load_problem(self) -> str:
        if not self.file.is_file():
            return "file not found"
        size = self.file.stat().st_size
        return (
            f"the file ({size:,} bytes) is damaged, has a format that this xllamacpp does not support, or does not fit "
            "in memory with model.context and model.slots; download it again or choose another"
        )


class LlamaCpp(Model):
    """A GGUF file that llama.cpp runs in this process. Answers do not depend on threads, slots or concurrent calls.

    Attributes:
        path: the GGUF file; its content is part of the identity.
        context: tokens of prompt and answer together, per slot.
        slots: maximum number of concurrent answers, which share memory and are computed in batches.
        threads: threads of the server; None for one per idle core.
        gpu_layers: layers of the model on the GPU, if xllamacpp is built for one.
    """

    requires: ClassVar[tuple[str, ...]] = ("xllamacpp",)
    extra: ClassVar[str] = "smollm2"
    provider: ClassVar[str] = "llamacpp"
    name: str = "llamacpp"
    path: Path | None = None
    context: Positive = 2048
    slots: Annotated[int, Field(ge=1, le=64), OPERATIONAL] = 4
    threads: Annotated[Positive | None, OPERATIONAL] = None
    gpu_layers: Annotated[int, Field(ge=0)] = 0

    @property
    def backend(self) -> str:
        return f"llamacpp/{self.name}"

    @property
    def max_concurrency(self) -> int:
        return self.slots

    @cached_property
    def engine(self) -> LlamaServer:
        return LlamaServer(
            file=self.file(),
            weights=self.weights(),
            context=self.context,
            slots=self.slots,
            threads=self.threads,
            gpu_layers=self.gpu_layers,
        )

    def file(self) -> Path:
        """The GGUF file."""
        assert self.path is not None
        return self.path

    def weights(self) -> str:
        """The digest of the file, cached until the file changes."""
        stat = self.file().stat()
        return _digest(self.file(), stat.st_size, stat.st_mtime_ns)

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        without_path = self.model_copy(update={"path": None})
        return {
            **super(LlamaCpp, without_path).fingerprint(include_operational=include_operational),
            "weights": self.weights(),
        }

    def problems(self) -> list[str]:
        if self.path is None:
            return ["model.path is not set; set a GGUF file: model.path=/folder/model.gguf"]
        try:
            with self.path.open("rb") as file:
                return [] if file.read(4) == b"GGUF" else [f"{str(self.path)!r} is not a GGUF file; set model.path"]
        except OSError as error:
            return [f"the GGUF file {str(self.path)!r} cannot be read: {error.strerror}; set model.path"]

    def run(self, messages: list[Message], call: Call) -> Outcome:
        started = time.monotonic()
        deadline = started + self.limits.timeout if call.deadline is None else call.deadline
        answer, errors = StreamedAnswer(call), list[Exception]()

        def check() -> None:
            answer.add(None)
            if time.monotonic() > deadline:
                seconds = f"{deadline - started:.3g} s"
                raise DeadlineExceeded(f"{self.name} did not answer within {seconds}; to wait longer: limits.timeout")

        def on_chunk(chunk: Any) -> bool:
            try:
                for part in chunk if isinstance(chunk, list) else [chunk]:
                    self._add_chunk(json.loads(part) if isinstance(part, (str, bytes)) else part, answer)
                check()
            except Exception as error:  # the server ignores exceptions of a callback
                errors.append(error)
            return bool(errors)

        with self.engine.running().slot(check) as server:
            try:
                server.handle_chat_completions(self._request(messages), on_chunk)
            except (ValueError, RuntimeError) as error:
                raise BackendError(f"llama.cpp refused the request: {_short_message(error)}", status=400) from error
        if errors:
            raise errors[0]
        return finish_answer(self, answer)

    def _request(self, messages: list[Message]) -> dict[str, Any]:
        request: dict[str, Any] = {
            "messages": messages,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "stop": list(self.stop),
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_progress": True,
            "cache_prompt": True,
        }
        if self.seed is not None:
            request["seed"] = self.seed
        if self.json_schema is not None:
            schema = {"name": "answer", "schema": self.json_schema, "strict": True}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        return request

    def _add_chunk(self, chunk: Mapping[str, Any], answer: StreamedAnswer) -> None:
        """Add one chunk of the stream to the answer."""
        if "error" in chunk or ("code" in chunk and "message" in chunk):
            raise self._error(chunk.get("error", chunk))
        for choice in chunk.get("choices", ()):
            answer.add((choice.get("delta") or {}).get("content"))
            answer.finish = choice.get("finish_reason") or answer.finish
        if chunk.get("usage"):
            inputs, outputs = chunk["usage"]["prompt_tokens"], chunk["usage"]["completion_tokens"]
            answer.usage = Usage(input_tokens=inputs, output_tokens=outputs, total_tokens=inputs + outputs)

    def _error(self, error: Any) -> FlowError:
        details = error if isinstance(error, Mapping) else {"message": error}
        if details.get("type") == "exceed_context_size_error":
            return BackendError(
                f"the prompt has {details.get('n_prompt_tokens')} tokens, more than the {details.get('n_ctx')} that "
                f"{self.name} accepts; raise model.context, or use fewer or shorter passages",
                status=400,
            )
        code = details.get("code")
        return BackendError(
            f"llama.cpp failed: {details.get('message')}", status=code if isinstance(code, int) else 500
        )


@lru_cache(maxsize=64)
def _digest(file: Path, size: int, changed: int) -> str:
    """SHA-256 of a file. The size and modification time are part of the cache key."""
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def _cores() -> int:
    """The number of idle cores; on a busy machine, fewer threads are faster."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(1, cores - round(busy))


def _short_message(error: Exception) -> str:
    """The message of the server, without its prefix."""
    return str(error).rpartition("Automatic parser generation failed: ")[2]
