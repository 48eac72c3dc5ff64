"""llama.cpp in this process (xllamacpp): the embedded SmolLM2, or any GGUF file."""

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

_STRIDE = 64
"""Tokens of a prompt that are read at once: between strides a call can be cancelled. On a CPU as fast as 2,048."""


class ServerSlots:
    """A server of this process, with a permit for each of its slots."""

    def __init__(self, server: Any, slots: int) -> None:
        self.server = server
        self._free = threading.Semaphore(slots)

    @contextmanager
    def slot(self, check: Callable[[], None]) -> Iterator[Any]:
        """The server, once one of its slots is free; `check` raises when there is no more point in waiting."""
        while not self._free.acquire(timeout=0.1):
            check()
        try:
            yield self.server
        finally:
            self._free.release()


class LlamaServer(Part):
    """A loaded GGUF file: what models share that differ only in how they ask.

    Attributes:
        weights: what the file counts as; where it lies does not matter.
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
        """The server of this process (a forked child gets its own); its first caller loads the model."""
        return shared(self, self._load, name=str(os.getpid()))

    def _load(self) -> ServerSlots:
        xllamacpp = load("xllamacpp", LlamaCpp.extra, "model=llamacpp")
        params = xllamacpp.CommonParams()
        params.model.path = str(self.file)
        params.model_alias = {self.file.stem}
        params.n_ctx, params.n_parallel = self.context * self.slots, self.slots
        params.n_batch = params.n_ubatch = _STRIDE
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self.threads or _cores()
        params.cpuparams.poll = params.cpuparams_batch.poll = 0
        params.warmup, params.verbosity, params.n_gpu_layers = False, -1, self.gpu_layers
        params.api_keys = [os.urandom(16).hex()]  # its HTTP port always opens; nobody but us may use it
        try:
            return ServerSlots(xllamacpp.Server(params), self.slots)
        except RuntimeError as error:
            raise BackendError(f"llama.cpp cannot load {str(self.file)!r}: {self._ailing()}") from error

    def _ailing(self) -> str:
        if not self.file.is_file():
            return "there is no such file"
        size = self.file.stat().st_size
        return (
            f"its {size:,} bytes are damaged or cut short, of a kind that this xllamacpp does not know, or more than "
            "fits into memory with model.context and model.slots; fetch it again, or choose another"
        )


class LlamaCpp(Model):
    """A GGUF file, run in process. Its answers do not depend on threads, slots or what else is running.

    Attributes:
        path: the GGUF file; its content is part of the identity.
        context: tokens of prompt and answer together, for each slot.
        slots: how many answers are made at once; they share the model's memory and batch their work.
        threads: threads for one server; None takes the cores that this process may use.
        gpu_layers: layers of the model that a GPU computes, where xllamacpp was built for one.
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
        """What the weights count as: the digest of the file, read once per process and state of the file."""
        stat = self.file().stat()
        return _digest(self.file(), stat.st_size, stat.st_mtime_ns)

    def fingerprint(self, *, include_operational: bool = False) -> dict[str, Any]:
        placeless = self.model_copy(update={"path": None})
        return {
            **super(LlamaCpp, placeless).fingerprint(include_operational=include_operational),
            "weights": self.weights(),
        }

    def problems(self) -> list[str]:
        if self.path is None:
            return ["model.path must name a GGUF file: model.path=/folder/model.gguf"]
        try:
            with self.path.open("rb") as file:
                return [] if file.read(4) == b"GGUF" else [f"{str(self.path)!r} is no GGUF file: mend model.path"]
        except OSError as error:
            return [f"there is no GGUF file {str(self.path)!r} to read ({error.strerror}): mend model.path"]

    def run(self, messages: list[Message], call: Call) -> Outcome:
        begun = time.monotonic()
        deadline = begun + self.limits.timeout if call.deadline is None else call.deadline
        heard, broken = StreamedAnswer(call), list[Exception]()

        def check() -> None:
            heard.add(None)
            if time.monotonic() > deadline:
                seconds = f"{deadline - begun:.3g} s"
                raise DeadlineExceeded(f"{self.name} did not answer within {seconds}; to wait longer: limits.timeout")

        def on_chunk(chunk: Any) -> bool:
            try:
                for piece in chunk if isinstance(chunk, list) else [chunk]:
                    self._take(json.loads(piece) if isinstance(piece, (str, bytes)) else piece, heard)
                check()
            except Exception as error:  # the server swallows what a callback raises
                broken.append(error)
            return bool(broken)

        with self.engine.running().slot(check) as server:
            try:
                server.handle_chat_completions(self._request(messages), on_chunk)
            except (ValueError, RuntimeError) as error:
                raise BackendError(f"llama.cpp refused the request: {_brief(error)}", status=400) from error
        if broken:
            raise broken[0]
        return finish_answer(self, heard)

    def _request(self, messages: list[Message]) -> dict[str, Any]:
        wanted: dict[str, Any] = {
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
            wanted["seed"] = self.seed
        if self.json_schema is not None:
            schema = {"name": "answer", "schema": self.json_schema, "strict": True}
            wanted["response_format"] = {"type": "json_schema", "json_schema": schema}
        return wanted

    def _take(self, chunk: Mapping[str, Any], heard: StreamedAnswer) -> None:
        """Take what one piece of the stream says."""
        if "error" in chunk or ("code" in chunk and "message" in chunk):
            raise self._error(chunk.get("error", chunk))
        for choice in chunk.get("choices", ()):
            heard.add((choice.get("delta") or {}).get("content"))
            heard.finish = choice.get("finish_reason") or heard.finish
        if chunk.get("usage"):
            given, made = chunk["usage"]["prompt_tokens"], chunk["usage"]["completion_tokens"]
            heard.usage = Usage(input_tokens=given, output_tokens=made, total_tokens=given + made)

    def _error(self, error: Any) -> FlowError:
        said = error if isinstance(error, Mapping) else {"message": error}
        if said.get("type") == "exceed_context_size_error":
            return BackendError(
                f"the prompt has {said.get('n_prompt_tokens')} tokens, more than the {said.get('n_ctx')} that "
                f"{self.name} can hold; raise model.context, or give it fewer or shorter passages",
                status=400,
            )
        code = said.get("code")
        return BackendError(f"llama.cpp failed: {said.get('message')}", status=code if isinstance(code, int) else 500)


@lru_cache(maxsize=64)
def _digest(file: Path, size: int, changed: int) -> str:
    """SHA-256 of a file, read piece by piece (it may be larger than memory), once per size and time of change."""
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def _cores() -> int:
    """Cores that are free now: on a busy machine fewer threads are faster."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(1, cores - round(busy))


def _brief(error: Exception) -> str:
    """What the server says of a request, without the words around it."""
    return str(error).rpartition("Automatic parser generation failed: ")[2]
