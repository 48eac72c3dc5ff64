"""LlamaIndex: embeddings and tracing."""
